"""The endpoints of the platforms, and an authorization server that trusts one of them. They share no code with affiant.

PyJWT signs what the platforms issue, and verifies what the server gets.
"""

import re
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import jwt
from tests.rsa_keys import rsa_2048
from tests.unit.client.conftest import Answer, Foreign, Request, metadata_answer, token_answer

KEY = rsa_2048()
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TYPES = {
    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
}
ISSUER, SUBJECT = "https://platform.example", "repo:acme/app:ref:refs/heads/main"
REQUEST_TOKEN, IDENTITY_HEADER = "canary-request-token", "canary-identity-header"


def issue(audience: object, **claims: object) -> str:
    """An identity token; a claim that is None is left out."""
    now = int(time.time())
    said = {"iss": ISSUER, "sub": SUBJECT, "aud": audience, "iat": now, "exp": now + 300, "jti": uuid4().hex, **claims}
    members = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(members, KEY, "RS256", headers={"kid": "platform-1"})


class Platform(Foreign):
    """Every endpoint that a workload asks on its own machine, or in its network."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: list[Answer] = []  # before the usual ones
        self.claims: dict[str, object] = {}
        self.issued_tokens: list[str] = []
        self.audience: Callable[[str], object] = lambda asked: asked
        self.sign: Callable[[str], str] = lambda asked: issue(self.audience(asked), **self.claims)
        self.pause = 0.0

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        time.sleep(self.pause)
        if self.replies:
            return self.replies.pop(0)
        parts = urlsplit(request.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        found: Any = getattr(self, "_at" + re.sub("[/-]", "_", parts.path).lower(), None)
        return Answer(404, {}) if found is None else found(request, query)

    def _issue(self, asked: str) -> str:
        self.issued_tokens.append(self.sign(asked))
        return self.issued_tokens[-1]

    def _at_idtoken(self, request: Request, query: dict[str, str]) -> Answer:
        if request.headers.get("authorization") != f"bearer {REQUEST_TOKEN}":
            return Answer(401, {"message": "canary-body"})
        return Answer(200, {"value": self._issue(query.get("audience", "https://github.com/acme"))})

    def _at_computemetadata_v1_instance_service_accounts_default_identity(
        self, request: Request, query: dict[str, str]
    ) -> Answer:
        if request.headers.get("metadata-flavor") != "Google" or query.get("format") != "full":
            return Answer(403, {})
        return Answer(200, raw=self._issue(query["audience"]).encode(), headers={"Metadata-Flavor": "Google"})

    def _at_metadata_identity_oauth2_token(self, request: Request, query: dict[str, str]) -> Answer:
        if request.headers.get("metadata") != "true" or query.get("api-version") != "2018-02-01":
            return Answer(400, {"error": "invalid_request"})
        return Answer(200, {"access_token": self._issue(query["resource"]), "token_type": "Bearer"})

    def _at_msi_token(self, request: Request, query: dict[str, str]) -> Answer:
        if request.headers.get("x-identity-header") != IDENTITY_HEADER or query.get("api-version") != "2019-08-01":
            return Answer(401, {})
        return Answer(200, {"access_token": self._issue(query["resource"]), "token_type": "Bearer"})

    def _at_(self, request: Request, _query: dict[str, str]) -> Answer:
        """STS of AWS, in its query protocol."""
        form = request.form
        if form.get("Action") != "GetWebIdentityToken" or "AWS4-HMAC-SHA256" not in request.headers["authorization"]:
            return Answer(400, raw=b"<ErrorResponse/>")
        token = self._issue(form["Audience.member.1"])
        xml = (
            '<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetWebIdentityTokenResult>'
            f"<WebIdentityToken>{token}</WebIdentityToken><Expiration>2030-01-01T00:00:00Z</Expiration>"
            "</GetWebIdentityTokenResult></GetWebIdentityTokenResponse>"
        )
        return Answer(200, raw=xml.encode(), headers={"Content-Type": "text/xml"})


def aws_error(code: str) -> Answer:
    text = f"<ErrorResponse><Error><Code>{code}</Code><Message>canary-body</Message></Error></ErrorResponse>"
    return Answer(400, raw=text.encode(), headers={"Content-Type": "text/xml"})


def install_program(folder: Path, name: str, script: str) -> None:
    """An agent's program; the folder is to be in the path."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport sys, time\n{script}\n")
    path.chmod(0o700)


@contextmanager
def workload_api(address: str, sign: Callable[[str], str]) -> Iterator[None]:
    """The API of SPIFFE at a Unix socket, with the messages of the package spiffe."""
    import grpc
    from spiffe._proto import workload_pb2, workload_pb2_grpc

    class Agent(workload_pb2_grpc.SpiffeWorkloadAPIServicer):
        def FetchJWTSVID(self, request: Any, context: Any) -> Any:  # noqa: N802 - its name
            (audience,) = request.audience
            svid = workload_pb2.JWTSVID(spiffe_id="spiffe://example.org/app", svid=sign(audience))
            return workload_pb2.JWTSVIDResponse(svids=[svid])

    server = grpc.server(ThreadPoolExecutor(2))
    add: Any = workload_pb2_grpc.add_SpiffeWorkloadAPIServicer_to_server
    add(Agent(), server)
    server.add_insecure_port(address)
    server.start()
    try:
        yield
    finally:
        server.stop(0).wait()


class Trusting(Foreign):
    """An authorization server that trusts ISSUER: it verifies each token, takes it once, and notes every mistake."""

    def __init__(self) -> None:
        super().__init__()
        self.default["/.well-known/oauth-authorization-server"] = metadata_answer(self.url)
        self.audience = self.url
        self.subject = SUBJECT
        self.is_once = True
        self.replies: list[Answer] = []
        self.seen: list[str] = []
        self.mistakes: list[str] = []

    def answer(self, request: Request) -> Answer:
        if request.path != "/token":
            return super().answer(request)
        with self._lock:
            self.requests.append(request)
            time.sleep(self.delay)
            if self.replies:
                return self.replies.pop(0)
            error = self._judge(request)
            if error is not None:
                self.mistakes.append(error)
                code = "invalid_grant" if request.form.get("grant_type") == GRANT else "invalid_client"
                return Answer(400, {"error": code, "error_description": error})
            self.issued += 1
            kind = "DPoP" if "dpop" in request.headers else "Bearer"
            return token_answer(f"token-{self.issued}", token_type=kind)

    def _judge(self, request: Request) -> str | None:
        form = request.form
        if "authorization" in request.headers or "client_secret" in form:
            return "there is a secret"
        if form["grant_type"] == GRANT:
            if "client_assertion" in form:
                return "two carriers"
        elif form["grant_type"] != "client_credentials" or form.get("client_assertion_type") not in TYPES:
            return "no carrier"
        try:
            need: Any = {"require": ["iss", "sub", "aud", "exp"], "strict_aud": False}
            found = jwt.decode(
                _token(form), KEY.public_key(), ["RS256"], audience=self.audience, issuer=ISSUER, options=need
            )
        except jwt.InvalidTokenError as error:
            return type(error).__name__
        if found["sub"] != self.subject:
            return "nobody has this sub"
        if self.is_once and found.get("jti") in self.seen:
            return "replay"
        self.seen.append(found.get("jti", ""))
        return None


def _token(form: dict[str, str]) -> str:
    return form.get("assertion") or form.get("client_assertion") or ""
