#!/usr/bin/env bash
# auth0-python sends a token request with private_key_jwt as JSON
#
# Guess:   a token request is a form, application/x-www-form-urlencoded (RFC 6749 section 4.4.2), and its assertion is
#          for the token endpoint or the issuer as the server spells it.
# Version: auth0-python 6.8.0
# Seen:    the body is one JSON object with client_assertion in it and "organization": null; the path /oauth/token is
#          fixed, and the assertion's aud is "https://DOMAIN/" with a slash, for 180 s.
# So:      a server that keeps to RFC 6749 refuses it before it looks at the assertion; no setting of the client helps.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with auth0-python==6.8.0 cryptography==50.0.0

cat > seen.py <<'PY'
import base64, json

import requests
from auth0.authentication import GetToken
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


class Caught(Exception):
    pass


def send(self, request, **_):
    raise Caught(request)


requests.Session.send = send
key = rsa.generate_private_key(65537, 2048).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
try:
    GetToken("as.example", "billing", client_assertion_signing_key=key).client_credentials("https://orders.example")
except Caught as caught:
    request = caught.args[0]
    body = json.loads(request.body)
    claims = body["client_assertion"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    print(request.method, request.url)
    print(request.headers["content-type"])
    print("members:", ", ".join(sorted(body)), "| organization:", body.get("organization"))
    print("aud:", claims["aud"], "| lifetime:", claims["exp"] - claims["iat"])
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
POST https://as.example/oauth/token
application/json
members: audience, client_assertion, client_assertion_type, client_id, grant_type, organization | organization: None
aud: https://as.example/ | lifetime: 180
SEEN
