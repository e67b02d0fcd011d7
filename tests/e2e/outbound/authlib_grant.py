"""Authlib's grant for JWTs of trusted issuers on Flask, after its documentation: keys come by discovery."""

import os
from typing import Any

import httpx2
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc7523 import JWTBearerGrant
from flask import Flask, Response, jsonify
from joserfc.jwk import KeySet

HERE, TRUSTED, SUBJECT = os.environ["HERE"], os.environ["TRUSTED"], os.environ["SUBJECT"]
app = Flask(__name__)


class Issuer(ClientMixin):  # type: ignore[misc]
    def get_allowed_scope(self, scope: str) -> str:
        return scope if scope == "orders.read" else ""

    def check_grant_type(self, grant_type: str) -> bool:
        return bool(grant_type == JWTBearerGrant.GRANT_TYPE)


class Grant(JWTBearerGrant):  # type: ignore[misc]
    def resolve_issuer_client(self, issuer: str) -> Issuer | None:
        return Issuer() if issuer == TRUSTED else None

    def resolve_client_public_key(self, client: Issuer) -> Any:
        document = httpx2.get(f"{TRUSTED}/.well-known/openid-configuration").json()
        return KeySet.import_key_set(httpx2.get(document["jwks_uri"]).json())

    def authenticate_user(self, subject: str) -> str | None:
        return subject if subject == SUBJECT else None

    def get_audiences(self) -> list[str]:
        return [HERE]

    def has_granted_permission(self, client: Issuer, user: str) -> bool:
        return True


server = AuthorizationServer(app, query_client=lambda _: None, save_token=lambda _token, _request: None)
server.register_grant(Grant)


@app.post("/token")
def token() -> Response:
    answer: Response = server.create_token_response()
    return answer


@app.get("/.well-known/oauth-authorization-server")
def metadata() -> Response:
    return jsonify(issuer=HERE, token_endpoint=f"{HERE}/token", response_types_supported=[])


app.run("127.0.0.1", int(HERE.rpartition(":")[2]), threaded=True)
