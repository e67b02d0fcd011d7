"""Clients that others wrote, each configured as docs/how-to/interop.md says; run by an interpreter that has them.

Usage: recipes.py NAME. The environment says the rest: ISSUER, CLIENT_ID, SECRET or KEY (a PEM file), SCOPE, RESOURCE, TOKEN.
A recipe ends well once its client has asked for a token; the server's audit log says whether it got one.
"""

import contextlib
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

ISSUER, CLIENT_ID = os.environ["ISSUER"], os.environ["CLIENT_ID"]
SECRET, SCOPE, RESOURCE = os.environ.get("SECRET", ""), os.environ.get("SCOPE", ""), os.environ.get("RESOURCE", "")
TOKEN = os.environ.get("TOKEN", "")
KEY = Path(os.environ["KEY"]).read_text() if "KEY" in os.environ else ""
TOKEN_ENDPOINT = f"{ISSUER}/token"


def msal_key() -> None:
    import msal

    application = msal.ConfidentialClientApplication(
        CLIENT_ID,
        oidc_authority=ISSUER,
        client_credential={"private_key": KEY, "public_certificate": Path(os.environ["CERTIFICATE"]).read_text()},
    )
    assert application.acquire_token_for_client([SCOPE])["access_token"]


def msal_secret() -> None:
    import msal

    application = msal.ConfidentialClientApplication(CLIENT_ID, oidc_authority=ISSUER, client_credential=SECRET)
    assert application.acquire_token_for_client([SCOPE])["access_token"]


def okta() -> None:
    import asyncio

    from okta.client import Client

    settings = {
        "orgUrl": ISSUER.removesuffix("/oauth2/v1"),
        "authorizationMode": "PrivateKey",
        "clientId": CLIENT_ID,
        "scopes": [SCOPE],
        "privateKey": KEY,
    }

    async def ask() -> None:
        assert await Client(settings)._request_executor._oauth.get_access_token()

    asyncio.run(ask())


def _produce(**oauthbearer: str) -> None:
    from confluent_kafka import Producer

    # No broker answers: the library asks for its token all the same.
    settings = {
        "bootstrap.servers": "127.0.0.1:1",
        "log_level": 2,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanisms": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": TOKEN_ENDPOINT,
        "sasl.oauthbearer.scope": SCOPE,
    }
    more = {f"sasl.oauthbearer.{name.replace('_', '.')}": value for name, value in oauthbearer.items()}
    Producer({**settings, **more}).poll(1)


def kafka() -> None:
    _produce(
        grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer",
        assertion_algorithm="RS256",
        assertion_private_key_pem=KEY,
        assertion_claim_iss=CLIENT_ID,
        assertion_claim_sub=CLIENT_ID,
        assertion_claim_aud=ISSUER,
        assertion_claim_jti_include="true",
    )


def kafka_secret() -> None:
    _produce(client_id=CLIENT_ID, client_secret=SECRET)


def pulsar() -> None:
    import pulsar as library

    given = {
        "issuer_url": ISSUER,
        "client_id": CLIENT_ID,
        "client_secret": SECRET,
        "audience": RESOURCE,
        "scope": SCOPE,
    }
    with _stub({}) as broker:
        client = library.Client(
            broker.replace("http", "pulsar"),
            authentication=library.AuthenticationOauth2(json.dumps(given)),
            operation_timeout_seconds=1,
            logger=library.ConsoleLogger(library.LoggerLevel.Error),
        )
        with contextlib.suppress(library.PulsarException):
            client.create_producer("orders")
        client.close()


def pyiceberg() -> None:
    from pyiceberg.catalog.rest import RestCatalog

    oauth2 = {"client_id": CLIENT_ID, "client_secret": SECRET, "token_url": TOKEN_ENDPOINT, "scope": SCOPE}
    with _stub({"/v1/config": {"defaults": {}, "overrides": {}}, "/v1/namespaces": {"namespaces": []}}) as catalog:
        RestCatalog("c", uri=catalog, auth={"type": "oauth2", "oauth2": oauth2}).list_namespaces()


def pyiceberg_credential() -> None:
    """Its third request comes with the old token in the Authorization header."""
    from pyiceberg.catalog.rest import RestCatalog

    more = {"oauth2-server-uri": TOKEN_ENDPOINT, "scope": SCOPE}
    pages = {"/v1/config": {"defaults": {}, "overrides": {}}, "/v1/namespaces": {"namespaces": []}}
    with _stub(pages, refuses_once="/v1/namespaces") as catalog:
        RestCatalog("c", uri=catalog, credential=f"{CLIENT_ID}:{SECRET}", **more).list_namespaces()


def requests_oauth2client() -> None:
    from jwskate import Jwk
    from requests_oauth2client import OAuth2Client, PrivateKeyJwt

    key = Jwk.from_pem(KEY).with_kid_thumbprint().to_dict() | {"alg": "ES256"}
    auth = PrivateKeyJwt(CLIENT_ID, key, alg="ES256", aud=ISSUER)
    client = OAuth2Client(TOKEN_ENDPOINT, issuer=ISSUER, auth=auth, testing=True)
    assert client.client_credentials(scope=SCOPE).scope == SCOPE
    assert client.client_credentials(scope=SCOPE, dpop=True).token_type == "DPoP"


def exchange_requests_oauth2client() -> None:
    from jwskate import Jwk
    from requests_oauth2client import OAuth2Client, PrivateKeyJwt

    key = Jwk.from_pem(KEY).with_kid_thumbprint().to_dict() | {"alg": "ES256"}
    auth = PrivateKeyJwt(CLIENT_ID, key, alg="ES256", aud=ISSUER)
    client = OAuth2Client(TOKEN_ENDPOINT, issuer=ISSUER, auth=auth, testing=True)
    found = client.token_exchange(subject_token=TOKEN, subject_token_type="access_token", resource=RESOURCE)
    assert (found.scope, found.issued_token_type) == (SCOPE, "urn:ietf:params:oauth:token-type:access_token")
    bound = client.token_exchange(subject_token=TOKEN, subject_token_type="access_token", resource=RESOURCE, dpop=True)
    assert bound.token_type == "DPoP"


def exchange_authlib() -> None:
    from authlib.integrations.requests_client import OAuth2Session

    session = OAuth2Session(CLIENT_ID, SECRET, token_endpoint_auth_method="client_secret_basic")
    found = session.fetch_token(
        TOKEN_ENDPOINT,
        grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
        subject_token=TOKEN,
        subject_token_type="urn:ietf:params:oauth:token-type:access_token",
        resource=RESOURCE,
    )
    assert found["scope"] == SCOPE, found


def platform_requests_oauth2client() -> None:
    from requests_oauth2client import BaseClientAssertionAuthenticationMethod, OAuth2Client, PublicApp

    class Workload(BaseClientAssertionAuthenticationMethod):
        def client_assertion(self, audience: str) -> str:
            return TOKEN

    as_grant = OAuth2Client(TOKEN_ENDPOINT, issuer=ISSUER, auth=PublicApp(CLIENT_ID), testing=True)
    assert as_grant.jwt_bearer(TOKEN, resource=RESOURCE).scope == SCOPE
    assert as_grant.jwt_bearer(TOKEN, resource=RESOURCE, dpop=True).token_type == "DPoP"
    workload = Workload(CLIENT_ID, 60, str, ISSUER, None)
    as_client = OAuth2Client(TOKEN_ENDPOINT, issuer=ISSUER, auth=workload, testing=True)
    assert as_client.client_credentials(resource=RESOURCE).scope == SCOPE


def platform_authlib() -> None:
    from authlib.integrations.requests_client import OAuth2Session

    session = OAuth2Session(CLIENT_ID, token_endpoint_auth_method="none")
    jwt_bearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    as_grant = session.fetch_token(TOKEN_ENDPOINT, grant_type=jwt_bearer, assertion=TOKEN, resource=RESOURCE)
    assert as_grant["scope"] == SCOPE, as_grant
    as_client = session.fetch_token(
        TOKEN_ENDPOINT,
        grant_type="client_credentials",
        client_assertion=TOKEN,
        client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        resource=RESOURCE,
    )
    assert as_client["scope"] == SCOPE, as_client


def databricks() -> None:
    from databricks.sdk.core import Config

    with _stub({}) as workspace:
        config = Config(
            host=workspace,
            client_id=CLIENT_ID,
            client_secret=SECRET,
            discovery_url=f"{ISSUER}/.well-known/oauth-authorization-server",
            scopes=[SCOPE],
            auth_type="oauth-m2m",
        )
        assert config.authenticate()["Authorization"].startswith("Bearer ")


def snowflake() -> None:
    import snowflake.connector

    with _stub({}) as warehouse, contextlib.suppress(snowflake.connector.Error):
        snowflake.connector.connect(
            account="a",
            protocol="http",
            host="127.0.0.1",
            port=warehouse.rpartition(":")[2],
            login_timeout=2,
            authenticator="OAUTH_CLIENT_CREDENTIALS",
            oauth_client_id=CLIENT_ID,
            oauth_client_secret=SECRET,
            oauth_token_request_url=TOKEN_ENDPOINT,
            oauth_scope=SCOPE,
        )


def fhirclient() -> None:
    import secrets
    import time

    import jwt
    from fhirclient import client

    now = int(time.time())
    claims = {
        "iss": CLIENT_ID,
        "sub": CLIENT_ID,
        "aud": ISSUER,
        "iat": now,
        "exp": now + 60,
        "jti": secrets.token_hex(),
    }
    assertion = jwt.encode(claims, KEY, "ES256", {"typ": "client-authentication+jwt"})
    extension = {
        # The name of the extension in the FHIR specification; nothing is fetched from there.
        "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
        "extension": [{"url": "token", "valueUri": TOKEN_ENDPOINT}, {"url": "authorize", "valueUri": ISSUER}],
    }
    document = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-01-01T00:00:00Z",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{"mode": "server", "security": {"extension": [extension]}}],
    }
    with _stub({"/metadata": document}) as server:
        smart = client.FHIRClient(
            settings={
                "app_id": CLIENT_ID,
                "api_base": server,
                "jwt_token": assertion,
                "scope": SCOPE,
                "redirect_uri": server,
            }
        )
        smart.wants_patient = False
        smart.prepare()
        smart.authorize()


def fastmcp_verifier() -> None:
    import asyncio

    from fastmcp.server.auth.providers.jwt import JWTVerifier

    verifier = JWTVerifier(
        jwks_uri=f"{ISSUER}/jwks", issuer=ISSUER, audience=RESOURCE, algorithm="ES256", required_scopes=[SCOPE]
    )
    assert asyncio.run(verifier.verify_token(os.environ["TOKEN"]))


def fastmcp_guard() -> None:
    """FastMCP asks our guard, as docs/how-to/mcp.md says; and the challenges that it then makes itself."""
    import asyncio

    import httpx2
    from fastmcp import FastMCP
    from fastmcp.server.auth import RemoteAuthProvider
    from fastmcp.server.dependencies import get_access_token

    from affiant.resource import Guard

    origin = RESOURCE.removesuffix("/mcp")
    auth = RemoteAuthProvider(
        Guard(ISSUER, audience=RESOURCE).mcp(),
        [ISSUER],
        origin,
        required_scopes=[SCOPE],
        scopes_supported=[SCOPE],
    )
    server = FastMCP("tools", auth=auth)

    @server.tool
    def whoami() -> str:
        """The client that calls."""
        return get_access_token().client_id

    app = server.http_app(path="/mcp", stateless_http=True, json_response=True)
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}

    async def run() -> None:
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=origin)
        async with app.router.lifespan_context(app), http:

            async def ask(*tokens: str) -> Any:
                headers = [("accept", "application/json, text/event-stream")]
                headers += [("authorization", f"Bearer {token}") for token in tokens]
                return await http.post("/mcp", headers=headers, json=call)

            called = await ask(os.environ["TOKEN"])
            assert called.json()["result"]["structuredContent"] == {"result": os.environ["NAME"]}, called.text
            told = [await ask(), await ask(os.environ["OTHER_TOKEN"]), await ask("x")]
            assert [reply.status_code for reply in told] == [401, 403, 401]
            errors = [None, "insufficient_scope", "invalid_token"]
            for reply, error in zip(told, errors, strict=True):
                challenge = reply.headers["www-authenticate"]
                assert (f'error="{error}"' in challenge) if error else ("error=" not in challenge), challenge
                assert f'scope="{SCOPE}"' in challenge, challenge
                assert f'resource_metadata="{origin}/.well-known/oauth-protected-resource/mcp"' in challenge, challenge
            document = (await http.get("/.well-known/oauth-protected-resource/mcp")).json()
            assert (document["resource"], document["scopes_supported"]) == (RESOURCE, [SCOPE])

    asyncio.run(run())


def scitokens_verifier() -> None:
    import scitokens

    token = scitokens.SciToken.deserialize(os.environ["TOKEN"], audience=RESOURCE)
    enforcer = scitokens.Enforcer(ISSUER, audience=RESOURCE)
    for claim in ("client_id", "client_key"):  # RFC 9068 section 2.2, and affiant's own: scitokens knows neither
        enforcer.add_validator(claim, lambda _: True)
    assert enforcer.test(token, "read", "/data"), enforcer.last_failure


@contextlib.contextmanager
def _stub(pages: dict[str, Any], refuses_once: str = "") -> Any:
    """What the client would use its token for; it answers 401 to the first request for one path."""
    refusals = {refuses_once}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            page = pages.get(path)
            body = json.dumps(page or {}).encode()
            status = 404 if page is None else 200
            if path in refusals:
                refusals.remove(path)
                body, status = b'{"error": {"message": "expired", "type": "NotAuthorizedException", "code": 401}}', 401
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - http.server names it

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
