"""Ask the verifiers of others about tokens, each configured as its documentation shows; run by their interpreter.

Standard input: issuer, audience, scope, jwks, the rows of the grid, and the requests of the challenge table. Standard
output: for each peer its verdicts, in the order of the rows, and its answers.
"""

# ruff: noqa: PLC0415, FAST002, B008 - a function has all of one library, as its documentation shows it

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import logging
import sys
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GIVEN = json.load(sys.stdin)
ISSUER, API, SCOPE, JWKS = GIVEN["issuer"], GIVEN["audience"], GIVEN["scope"], GIVEN["jwks"]


@contextlib.contextmanager
def serving():
    """Serve the keys; their URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(JWKS).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/jwks"
    server.shutdown()
    server.server_close()


def judged(verify, refusals):
    """Return a verdict for each token: a refusal is one of these exceptions."""
    verdicts = []
    for token in GIVEN["tokens"]:
        try:
            verdicts.append("accepted" if verify(token) is not None else "refused")
        except refusals:
            verdicts.append("refused")
        except Exception as error:  # noqa: BLE001 - to be counted
            verdicts.append(type(error).__name__)
    return verdicts


def pyjwt(url):
    import jwt

    client = jwt.PyJWKClient(url)

    def verify(token):
        key = client.get_signing_key_from_jwt(token)
        return jwt.decode(token, key, algorithms=["RS256"], audience=API, issuer=ISSUER)

    return judged(verify, jwt.PyJWTError)


def joserfc(_):
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    keys = KeySet.import_key_set(JWKS)
    registry = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": API}, exp={"essential": True}
    )

    def verify(token):
        found = jwt.decode(token, keys)
        registry.validate(found.claims)
        return found

    return judged(verify, (JoseError, ValueError))


def jwcrypto(_):
    from jwcrypto.common import JWException
    from jwcrypto.jwk import JWKSet
    from jwcrypto.jwt import JWT

    keys = JWKSet.from_json(json.dumps(JWKS))

    def verify(token):
        return JWT(key=keys, jwt=token, check_claims={"iss": ISSUER, "aud": API, "exp": None})

    return judged(verify, (JWException, ValueError))


def _authlib_validator():
    from authlib.oauth2.rfc9068 import JWTBearerTokenValidator

    class Validator(JWTBearerTokenValidator):
        def get_jwks(self):
            return JWKS

    return Validator(issuer=ISSUER, resource_server=API)


def authlib(_):
    from authlib.common.errors import AuthlibBaseError

    validator = _authlib_validator()

    def verify(token):
        found = validator.authenticate_token(token)
        validator.validate_token(found, None, None)
        return found

    return judged(verify, AuthlibBaseError)


def _jwt_verifier(url):
    from fastmcp.server.auth.providers.jwt import JWTVerifier

    return JWTVerifier(jwks_uri=url, issuer=ISSUER, audience=API)


def fastmcp(url):
    with asyncio.Runner() as runner:
        verifier = _jwt_verifier(url)
        return judged(lambda token: runner.run(verifier.verify_token(token)), ())


def _auth0_app():
    from fastapi import Depends, FastAPI
    from fastapi_plugin import Auth0FastAPI

    async def fetch(url):
        return JWKS if url.endswith("/jwks") else {"issuer": ISSUER, "jwks_uri": f"{ISSUER}jwks"}

    auth0 = Auth0FastAPI(domain=ISSUER.split("/")[2], audience=API, custom_fetch=fetch)
    app = FastAPI()

    @app.get("/any")
    def any_token(claims: dict = Depends(auth0.require_auth())):
        return claims

    @app.get("/orders")
    def orders(claims: dict = Depends(auth0.require_auth(scopes=SCOPE))):
        return claims

    return app


def auth0(_):
    class Failed(Exception):
        pass

    class Refused(Exception):
        pass

    app = _auth0_app()

    def verify(token):
        status = asyncio.run(_ask(app, "/any", [f"Bearer {token}"]))["status"]
        if status == 200:
            return token
        raise Refused if status in (400, 401) else Failed

    return judged(verify, Refused)


async def _ask(app, path, authorization, method="GET"):
    import httpx2

    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    headers = [
        ("accept", "application/json, text/event-stream"),
        *(("authorization", value) for value in authorization),
    ]
    async with httpx2.AsyncClient(transport=transport, base_url=API) as http:
        reply = await http.request(method, path, headers=headers, json={} if method == "POST" else None)
    return {"status": reply.status_code, "challenge": reply.headers.get("www-authenticate")}


def answers_auth0(_):
    app = _auth0_app()
    return [asyncio.run(_ask(app, "/orders", authorization)) for authorization in GIVEN["requests"]]


def answers_mcp(url):
    from mcp.server.auth.settings import AuthSettings
    from mcp.server.mcpserver import MCPServer

    auth = AuthSettings(
        issuer_url=ISSUER, resource_server_url=f"{API}/mcp", required_scopes=[SCOPE], validate_token_resource=False
    )

    async def run():
        server = MCPServer("orders", token_verifier=_jwt_verifier(url), auth=auth)
        app = server.streamable_http_app(stateless_http=True, json_response=True, host="api.example")
        async with app.router.lifespan_context(app):
            return [await _ask(app, "/mcp", authorization, "POST") for authorization in GIVEN["requests"]]

    return asyncio.run(run())


def answers_fastmcp(url):
    from fastmcp import FastMCP
    from fastmcp.server.auth import RemoteAuthProvider
    from fastmcp.server.auth.providers.jwt import JWTVerifier

    async def run():
        verifier = JWTVerifier(jwks_uri=url, issuer=ISSUER, audience=API, required_scopes=[SCOPE])
        server = FastMCP("orders", auth=RemoteAuthProvider(verifier, [ISSUER], API))
        app = server.http_app(path="/mcp", stateless_http=True, json_response=True)
        async with app.router.lifespan_context(app):
            return [await _ask(app, "/mcp", authorization, "POST") for authorization in GIVEN["requests"]]

    return asyncio.run(run())


def answers_authlib(_):
    from authlib.integrations.flask_oauth2 import ResourceProtector
    from flask import Flask
    from werkzeug.datastructures import Headers

    require_oauth = ResourceProtector()
    require_oauth.register_token_validator(_authlib_validator())
    app = Flask("orders")

    @app.get("/orders")
    @require_oauth(SCOPE)
    def orders():
        return "orders"

    answers = []
    for authorization in GIVEN["requests"]:
        headers = Headers([("authorization", value) for value in authorization])
        reply = app.test_client().get("/orders", headers=headers)
        answers.append({"status": reply.status_code, "challenge": reply.headers.get("www-authenticate")})
    return answers


VERDICTS = {
    "PyJWT": ("pyjwt", pyjwt),
    "FastMCP JWTVerifier": ("fastmcp", fastmcp),
    "Authlib RFC 9068": ("authlib", authlib),
    "joserfc": ("joserfc", joserfc),
    "jwcrypto": ("jwcrypto", jwcrypto),
    "auth0-fastapi-api": ("auth0-fastapi-api", auth0),
}
ANSWERS = {
    "MCP SDK": ("mcp", answers_mcp),
    "FastMCP": ("fastmcp", answers_fastmcp),
    "Authlib on Flask": ("authlib", answers_authlib),
    "auth0-fastapi-api": ("auth0-fastapi-api", answers_auth0),
}


def _named(name, package):
    return f"{name} {importlib.metadata.version(package)}"


def main():
    warnings.simplefilter("ignore")
    logging.disable()
    with serving() as url:
        verdicts = {_named(name, package): ask(url) for name, (package, ask) in VERDICTS.items()}
        answers = {_named(name, package): ask(url) for name, (package, ask) in ANSWERS.items()}
    json.dump({"verdicts": verdicts, "answers": answers}, sys.stdout)


if __name__ == "__main__":
    main()
