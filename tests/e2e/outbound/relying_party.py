"""An imitation of services that take tokens of other issuers; PyJWT verifies them, by discovery alone.

Requests and answers are those of the public documentation of OpenAI, Claude, Google's STS and AWS STS. What their
documentation does not say, the imitation decides strictly: one string as `aud`, and no `typ` but JWT.
"""

import threading
from dataclasses import dataclass
from typing import Any, Self
from xml.sax.saxutils import escape

import httpx2
import jwt
from flask import Flask, Response, jsonify, request
from werkzeug.serving import make_server

JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"
XML = '<{0}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{0}Result>{1}</{0}Result></{0}Response>'
ERROR = "<ErrorResponse><Error><Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error></ErrorResponse>"
CREDENTIALS = (
    "<Credentials><AccessKeyId>{0}</AccessKeyId><SecretAccessKey>secret-of-{0}</SecretAccessKey>"
    "<SessionToken>session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
)


@dataclass(frozen=True)
class Trust:
    """The settings that an administrator enters at the relying party."""

    issuer: str
    audience: str
    subject: str
    algorithms: tuple[str, ...] = ("RS256",)
    longest: int = 3600  # seconds from iat to exp
    once: bool = False


class RelyingParty:
    """A server in a thread; `trusts` has an entry for each provider, rule, pool or role that requests name."""

    def __init__(self) -> None:
        self.trusts: dict[str, Trust] = {}
        self.issued: dict[str, dict[str, Any]] = {}  # the claims with which each credential was had
        self.used: set[str] = set()
        self._clients: dict[str, jwt.PyJWKClient] = {}
        self._server = make_server("127.0.0.1", 0, self._app(), threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()

    def verify(self, trust: Trust, token: str) -> dict[str, Any]:
        """Return the claims; raise PyJWTError for a token that this trust does not cover."""
        document = httpx2.get(f"{trust.issuer}/.well-known/openid-configuration").json()
        if document["issuer"] != trust.issuer:
            raise jwt.InvalidIssuerError("the discovery document is of another issuer")
        listed = [alg for alg in document["id_token_signing_alg_values_supported"] if alg in trust.algorithms]
        if not listed:
            raise jwt.InvalidAlgorithmError(f"the issuer supports none of {', '.join(trust.algorithms)}")
        if jwt.get_unverified_header(token).get("typ", "JWT") != "JWT":
            raise jwt.InvalidTokenError("the typ is not JWT")
        # Kept, as services do: a key that signs before it is published would be missing.
        keys = self._clients.setdefault(trust.issuer, jwt.PyJWKClient(document["jwks_uri"], cooldown_duration=0))
        claims = jwt.decode(
            token,
            keys.get_signing_key_from_jwt(token),
            algorithms=listed,
            audience=trust.audience,
            issuer=trust.issuer,
            subject=trust.subject,
            options={"require": ["iss", "sub", "aud", "exp", "iat"], "strict_aud": True},
        )
        if claims["exp"] - claims["iat"] > trust.longest:
            raise jwt.InvalidTokenError("the token lives too long")
        if trust.once and claims["jti"] in self.used:
            raise jwt.InvalidTokenError("the jti was used before")
        self.used.add(claims["jti"])
        return claims

    def _exchange(self, named: str, token: str) -> str:
        claims = self.verify(self.trusts[named], token)
        credential = f"credential{len(self.issued)}"
        self.issued[credential] = claims
        return credential

    def _app(self) -> Flask:
        app = Flask(__name__)
        app.post("/oauth/token", endpoint="openai")(lambda: self._openai(request.get_json()))
        app.post("/v1/oauth/token", endpoint="claude")(lambda: self._claude(request.get_json()))
        app.post("/v1/token", endpoint="google")(lambda: self._google(dict(request.form)))
        app.post("/", endpoint="aws")(lambda: self._aws(dict(request.form)))
        app.get("/v1/models", endpoint="models")(self._models)
        return app

    def _openai(self, sent: dict[str, Any]) -> Any:
        assert sent["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
        assert sent["subject_token_type"] == JWT_TYPE
        return self._answer(f"{sent['identity_provider_id']} {sent['service_account_id']}", sent["subject_token"])

    def _claude(self, sent: dict[str, Any]) -> Any:
        assert sent["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        return self._answer(f"{sent['federation_rule_id']} {sent['service_account_id']}", sent["assertion"])

    def _google(self, sent: dict[str, str]) -> Any:
        assert sent["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
        assert sent["subject_token_type"] == JWT_TYPE
        return self._answer(sent["audience"], sent["subject_token"])

    def _answer(self, named: str, token: str) -> Any:
        try:
            credential = self._exchange(named, token)
        except jwt.PyJWTError as error:
            return jsonify(error="invalid_grant", error_description=str(error)), 400
        return jsonify(
            access_token=credential,
            issued_token_type="urn:ietf:params:oauth:token-type:access_token",
            token_type="Bearer",
            expires_in=600,
        )

    def _models(self) -> Any:
        claims = self.issued.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if claims is None:
            return jsonify(error={"type": "authentication_error", "message": "no such token"}), 401
        model = {"id": claims["sub"], "object": "model", "type": "model", "display_name": "", "owned_by": "x"}
        return jsonify(object="list", data=[model], has_more=False, first_id=None, last_id=None)

    def _aws(self, sent: dict[str, str]) -> Response:
        action = sent["Action"]
        if action == "GetCallerIdentity":
            key = request.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
            arn = f"arn:aws:sts::111122223333:assumed-role/{self.issued[key]['sub']}"
            return _xml(XML.format(action, f"<Arn>{arn}</Arn>"))
        assert action == "AssumeRoleWithWebIdentity"
        try:
            credential = self._exchange(sent["RoleArn"], sent["WebIdentityToken"])
        except jwt.PyJWTError as error:
            return _xml(ERROR.format("InvalidIdentityToken", escape(str(error))), 400)
        return _xml(XML.format(action, CREDENTIALS.format(credential)))


def _xml(text: str, status: int = 200) -> Response:
    return Response(text, status, content_type="text/xml")
