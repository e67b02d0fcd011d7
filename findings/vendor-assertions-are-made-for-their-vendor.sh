#!/usr/bin/env bash
# Vendors' JWT-bearer clients make assertions that only their vendor takes
#
# Guess:   a client library with a configurable host makes assertions for that host, with the claims of RFC 7523.
# Version: simple-salesforce 1.12.10, box-sdk-gen 1.17.0
# Seen:    simple-salesforce writes exp as a JSON string (RFC 7519 section 2 wants a number), has no jti and no iat, puts
#          ".salesforce.com" behind every domain, in its URL and in aud. box-sdk-gen keeps aud at Box's token URL when
#          base_url is another, and sends client_secret with the assertion.
# So:      no policy of a server makes them work elsewhere.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with simple-salesforce==1.12.10 "box-sdk-gen[jwt]==1.17.0" cryptography==50.0.0

cat > seen.py <<'PY'
import base64, json
from urllib.parse import parse_qs

import requests
from box_sdk_gen import BoxClient, BoxJWTAuth, JWTConfig
from box_sdk_gen.networking import BaseUrls, NetworkSession
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from simple_salesforce import Salesforce


class Caught(BaseException):
    pass


def send(self, request, **_):
    raise Caught(request)


requests.Session.send = send
key = rsa.generate_private_key(65537, 2048)


def pem(encryption):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


def show(name, call):
    try:
        call()
    except Caught as caught:
        request = caught.args[0]
        form = parse_qs(request.body if isinstance(request.body, str) else request.body.decode())
        claims = form["assertion"][0].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        print(name, request.url)
        print("  form:", ", ".join(sorted(form)))
        print("  claims:", ", ".join(sorted(claims)), "| aud:", claims["aud"], "| exp is a", type(claims["exp"]).__name__)


show(
    "simple-salesforce",
    lambda: Salesforce(
        username="billing@example.com", consumer_key="billing", privatekey=pem(serialization.NoEncryption()),
        domain="as.example",
    ),
)
config = JWTConfig(
    client_id="billing", client_secret="secret", jwt_key_id="k", enterprise_id="1",
    private_key=pem(serialization.BestAvailableEncryption(b"phrase")), private_key_passphrase="phrase",
)
session = NetworkSession(base_urls=BaseUrls(base_url="https://as.example", upload_url="https://as.example"))
show("box-sdk-gen", lambda: BoxJWTAuth(config=config).retrieve_token(network_session=session))
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
simple-salesforce https://as.example.salesforce.com/services/oauth2/token
  form: assertion, grant_type
  claims: aud, exp, iss, sub | aud: https://as.example.salesforce.com | exp is a str
box-sdk-gen https://as.example/oauth2/token
  form: assertion, client_id, client_secret, grant_type
  claims: aud, box_sub_type, exp, iss, jti, sub | aud: https://api.box.com/oauth2/token | exp is a int
SEEN
