"""Authlib's authorization server on Flask, after its documentation: private_key_jwt, and metadata without jwks_uri."""

import json
import os
from pathlib import Path
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, grants
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from flask import Flask, Response, jsonify
from joserfc.jwk import KeySet

GIVEN = json.loads(Path(os.environ["CONFIGURATION"]).read_text())
app = Flask(__name__)
app.config.update(OAUTH2_TOKEN_EXPIRES_IN={"client_credentials": 600})


class Client(ClientMixin):  # type: ignore[misc]
    def __init__(self, client_id: str, key: dict[str, Any]) -> None:
        self.client_id = client_id
        self.key = key

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str) -> str:
        return scope if scope == GIVEN["scope"] else ""

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return (method, endpoint) == (Assertion.CLIENT_AUTH_METHOD, "token")

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"


CLIENTS = {one["client_id"]: Client(one["client_id"], one["key"]) for one in GIVEN["clients"]}
USED: set[str] = set()


class Assertion(JWTBearerClientAssertion):  # type: ignore[misc]
    def get_audiences(self) -> list[str]:
        return [GIVEN["audience"]]

    def validate_jti(self, claims: dict[str, Any], jti: str) -> bool:
        is_new = jti not in USED
        USED.add(jti)
        return is_new

    def resolve_client_public_key(self, client: Client) -> Any:
        return KeySet.import_key_set({"keys": [client.key]})


class ClientCredentials(grants.ClientCredentialsGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = (Assertion.CLIENT_AUTH_METHOD,)


server = AuthorizationServer(app, query_client=CLIENTS.get, save_token=lambda _token, _request: None)
server.register_client_auth_method(Assertion.CLIENT_AUTH_METHOD, Assertion())
server.register_grant(ClientCredentials)


@app.post("/token")
def token() -> Response:
    answer: Response = server.create_token_response()
    return answer


@app.get("/.well-known/oauth-authorization-server")
def metadata() -> Response:
    return jsonify(
        issuer=GIVEN["issuer"],
        token_endpoint=f"{GIVEN['issuer']}/token",
        token_endpoint_auth_methods_supported=["private_key_jwt"],
        grant_types_supported=["client_credentials"],
        response_types_supported=[],
    )


app.run("127.0.0.1", int(os.environ["PORT"]), threaded=True)
