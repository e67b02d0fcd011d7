#!/usr/bin/env bash
# Authlib's authorization server takes an assertion only in an algorithm that joserfc calls recommended
#
# Guess:   JWTBearerClientAssertion takes any asymmetric algorithm that the library implements, PS256 of FAPI 2.0 as well.
# Version: Authlib 1.9.10, joserfc 1.8.0
# Seen:    ES256 and RS256 are taken. PS256, ES384, EdDSA and Ed25519 are refused with invalid_client, "not recommended".
#          The class passes no list of algorithms on, and has no
#          setting for one.
# So:      a client of such a server has a key for ES256 or RS256.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with authlib==1.9.10 joserfc==1.8.0 flask==3.1.3 cryptography==50.0.0

cat > seen.py <<'PY'
import time

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, grants
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from flask import Flask
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

ISSUER = "https://as.example"
KEYS = {
    "ES256": ECKey.generate_key("P-256"),
    "ES384": ECKey.generate_key("P-384"),
    "RS256": RSAKey.generate_key(2048),
    "PS256": RSAKey.generate_key(2048),
    "EdDSA": OKPKey.generate_key("Ed25519"),
    "Ed25519": OKPKey.generate_key("Ed25519"),
}


class Client(ClientMixin):
    def __init__(self, client_id):
        self.client_id = client_id

    def get_client_id(self):
        return self.client_id

    def get_allowed_scope(self, scope):
        return scope or ""

    def check_endpoint_auth_method(self, method, endpoint):
        return True

    def check_grant_type(self, grant_type):
        return True


class Assertion(JWTBearerClientAssertion):
    def get_audiences(self):
        return [ISSUER]

    def validate_jti(self, claims, jti):
        return True

    def resolve_client_public_key(self, client):
        return KeySet([KEYS[client.client_id]])


class ClientCredentials(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = [Assertion.CLIENT_AUTH_METHOD]


app = Flask("as")
server = AuthorizationServer(app, query_client=Client, save_token=lambda token, request: None)
server.register_client_auth_method(Assertion.CLIENT_AUTH_METHOD, Assertion())
server.register_grant(ClientCredentials)
app.post("/token")(server.create_token_response)

for alg, key in KEYS.items():
    now = int(time.time())
    claims = {"iss": alg, "sub": alg, "aud": ISSUER, "iat": now, "exp": now + 60, "jti": f"{alg}-{now}"}
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode({"alg": alg, "kid": key.thumbprint()}, claims, key, algorithms=[alg]),
    }
    answer = app.test_client().post("/token", data=form, base_url=ISSUER)
    print(alg, answer.status_code, answer.json.get("error_description", "a token"))
PY
"$python" -W ignore seen.py > now.txt
expect now.txt <<'SEEN'
ES256 200 a token
ES384 400 Algorithm of 'ES384' is not recommended
RS256 200 a token
PS256 400 Algorithm of 'PS256' is not recommended
EdDSA 400 Algorithm of 'EdDSA' is not recommended
Ed25519 400 Algorithm of 'Ed25519' is not recommended
SEEN
