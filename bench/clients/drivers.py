"""One client library in a process of its own: it makes the calls of a plan, and prints what it saw as JSON.

The plan comes on standard input. Only what the library's own documentation shows is used. It runs with the interpreter
that has the library, so each is imported where it is used.
"""

# ruff: noqa: PLC0415

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

Call = Callable[..., Any]
GIVEN: dict[str, Any] = json.loads(sys.stdin.read())
ISSUER, CLIENT, SCOPE, KEY = GIVEN["issuer"], "billing", "orders.read", GIVEN["pem"]
API = ISSUER
RESOURCE = f"{API}/orders"


def affiant_httpx2() -> Call:
    import httpx2

    from affiant import Service

    http = httpx2.Client(auth=Service(ISSUER, CLIENT, key=KEY, alg="RS256").auth(API, SCOPE), follow_redirects=True)
    return lambda method, path: http.request(method, API + path, content=_body(method)).status_code


def affiant_httpx2_async() -> Call:
    import httpx2

    from affiant import Service

    http = httpx2.AsyncClient(
        auth=Service(ISSUER, CLIENT, key=KEY, alg="RS256").auth(API, SCOPE), follow_redirects=True
    )

    async def call(method: str, path: str) -> int:
        return (await http.request(method, API + path, content=_body(method))).status_code

    return call


def affiant_requests() -> Call:
    import requests

    from affiant import Service

    auth = Service(ISSUER, CLIENT, key=KEY, alg="RS256").auth(API, SCOPE)
    return lambda method, path: requests.request(method, API + path, data=_body(method), auth=auth).status_code


def affiant_aiohttp() -> Call:
    import aiohttp

    from affiant import Service

    auth = Service(ISSUER, CLIENT, key=KEY, alg="RS256").auth(API, SCOPE, origin=API)
    session: list[Any] = []

    async def call(method: str, path: str) -> int:
        if not session:
            session.append(aiohttp.ClientSession(middlewares=[auth]))
        async with session[0].request(method, API + path, data=_body(method)) as response:
            return int(response.status)

    return call


def authlib_requests() -> Call:
    from authlib.integrations.requests_client import OAuth2Session
    from authlib.oauth2.rfc7523 import PrivateKeyJWT

    session = OAuth2Session(
        CLIENT, KEY, scope=SCOPE, token_endpoint_auth_method="private_key_jwt",
        token_endpoint=f"{ISSUER}/token", grant_type="client_credentials",
    )  # fmt: skip
    session.register_client_auth_method(PrivateKeyJWT(f"{ISSUER}/token"))
    session.fetch_token(resource=RESOURCE)
    return lambda method, path: session.request(method, API + path, data=_body(method)).status_code


def authlib_httpx_async() -> Call:
    from authlib.integrations.httpx_client import AsyncOAuth2Client
    from authlib.oauth2.rfc7523 import PrivateKeyJWT

    session = AsyncOAuth2Client(
        CLIENT, KEY, scope=SCOPE, token_endpoint_auth_method="private_key_jwt",
        token_endpoint=f"{ISSUER}/token", grant_type="client_credentials", follow_redirects=True,
    )  # fmt: skip
    session.register_client_auth_method(PrivateKeyJWT(f"{ISSUER}/token"))
    alone = asyncio.Lock()

    async def call(method: str, path: str) -> int:
        async with alone:
            if not session.token:
                await session.fetch_token(resource=RESOURCE)
        return int((await session.request(method, API + path, content=_body(method))).status_code)

    return call


def requests_oauth2client() -> Call:
    import requests
    from jwskate import Jwk
    from requests_oauth2client import OAuth2Client, OAuth2ClientCredentialsAuth, PrivateKeyJwt

    key = Jwk.from_pem(KEY).with_kid_thumbprint()
    client = OAuth2Client(f"{ISSUER}/token", auth=PrivateKeyJwt(CLIENT, key, alg="RS256"), testing=True)
    auth = OAuth2ClientCredentialsAuth(client, scope=SCOPE, resource=RESOURCE)
    return lambda method, path: requests.request(method, API + path, data=_body(method), auth=auth).status_code


def httpx_auth() -> Call:
    import httpx
    from httpx_auth import OAuth2ClientCredentials

    auth = OAuth2ClientCredentials(f"{ISSUER}/token", CLIENT, "secret", scope=SCOPE, resource=RESOURCE)
    http = httpx.Client(auth=auth, follow_redirects=True)
    return lambda method, path: http.request(method, API + path, content=_body(method)).status_code


def httpx_auth_async() -> Call:
    import httpx
    from httpx_auth import OAuth2ClientCredentials

    auth = OAuth2ClientCredentials(f"{ISSUER}/token", CLIENT, "secret", scope=SCOPE, resource=RESOURCE)
    http = httpx.AsyncClient(auth=auth, follow_redirects=True)

    async def call(method: str, path: str) -> int:
        return (await http.request(method, API + path, content=_body(method))).status_code

    return call


def google_auth() -> Call:
    from google.auth.transport.requests import AuthorizedSession
    from google.oauth2 import service_account

    info = {"type": "service_account", "client_email": CLIENT, "private_key": KEY, "token_uri": f"{ISSUER}/token"}
    session = AuthorizedSession(service_account.Credentials.from_service_account_info(info, scopes=[SCOPE]))
    return lambda method, path: session.request(method, API + path, data=_body(method)).status_code


def msal() -> Call:
    import requests
    from msal import ConfidentialClientApplication

    class Http:  # MSAL takes https URLs only, and an HTTP client of one's own
        def __init__(self) -> None:
            self.session = requests.Session()

        def post(self, url: str, **more: Any) -> Any:
            return self.session.post(_plain(url), **more)

        def get(self, url: str, **more: Any) -> Any:
            answer = self.session.get(_plain(url), **more)
            answer._content = answer.content.replace(b"http://127.0.0.1", b"https://127.0.0.1")  # noqa: SLF001
            return answer

        def close(self) -> None:
            self.session.close()

    authority = ISSUER.replace("http:", "https:")
    credential = {"private_key": KEY, "thumbprint": "0" * 40}
    app = ConfidentialClientApplication(
        CLIENT, oidc_authority=f"{authority}/as", client_credential=credential, http_client=Http()
    )

    def call(method: str, path: str) -> int:
        token = app.acquire_token_for_client(scopes=[SCOPE])["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return requests.request(method, API + path, data=_body(method), headers=headers).status_code

    return call


def mcp() -> Call:
    import httpx2
    from mcp.client.auth.extensions.client_credentials import PrivateKeyJWTOAuthProvider, SignedJWTParameters

    class Storage:
        def __init__(self) -> None:
            self.tokens: Any = None
            self.information: Any = None

        async def get_tokens(self) -> Any:
            return self.tokens

        async def set_tokens(self, tokens: Any) -> None:
            self.tokens = tokens

        async def get_client_info(self) -> Any:
            return self.information

        async def set_client_info(self, client_info: Any) -> None:
            self.information = client_info

    signer = SignedJWTParameters(issuer=CLIENT, subject=CLIENT, signing_key=KEY, signing_algorithm="RS256")
    auth = PrivateKeyJWTOAuthProvider(
        RESOURCE, Storage(), CLIENT, signer.create_assertion_provider(), scope=SCOPE, issuer=ISSUER
    )
    http = httpx2.AsyncClient(auth=auth, follow_redirects=True)

    async def call(method: str, path: str) -> int:
        return (await http.request(method, API + path, content=_body(method))).status_code

    return call


def _body(method: str) -> bytes | None:
    return b"pay" if method == "POST" else None


def _plain(url: str) -> str:
    return url.replace("https://127.0.0.1", "http://127.0.0.1").replace("/v2.0/", "/")


def _together(call: Call, count: int, method: str, path: str) -> list[Any]:
    found: list[Any] = []
    start = threading.Barrier(count)

    def one() -> None:
        start.wait()
        found.append(_tried(call, method, path))

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _tried(call: Call, method: str, path: str) -> Any:
    try:
        return call(method, path)
    except Exception as error:  # noqa: BLE001 - it is what is measured
        return type(error).__name__


async def _tried_async(call: Call, method: str, path: str) -> Any:
    try:
        return await call(method, path)
    except Exception as error:  # noqa: BLE001 - it is what is measured
        return type(error).__name__


async def _ticking(gaps: list[float]) -> None:
    last = time.perf_counter()
    while True:
        await asyncio.sleep(0.005)
        now = time.perf_counter()
        gaps.append(now - last)
        last = now


async def _run_async(call: Call) -> dict[str, Any]:
    statuses: list[Any] = []
    gaps: list[float] = []
    ticker = asyncio.create_task(_ticking(gaps))
    began = time.perf_counter()
    for step in GIVEN["plan"]:
        if "sleep" in step:
            await asyncio.sleep(step["sleep"])
            continue
        gaps.clear()
        began = time.perf_counter()
        tried = (_tried_async(call, step["method"], step["path"]) for _ in range(step["count"]))
        statuses.append(await asyncio.gather(*tried))
    ticker.cancel()
    return {"statuses": statuses, "seconds": time.perf_counter() - began, "gap": max(gaps, default=0.0)}


def _run(call: Call) -> dict[str, Any]:
    statuses: list[Any] = []
    began = time.perf_counter()
    for step in GIVEN["plan"]:
        if "sleep" in step:
            time.sleep(step["sleep"])
            continue
        began = time.perf_counter()
        statuses.append(_together(call, step["count"], step["method"], step["path"]))
    return {"statuses": statuses, "seconds": time.perf_counter() - began, "gap": None}


def main() -> None:
    name = sys.argv[1]
    if name in ("affiant_httpx2_async", "affiant_aiohttp", "authlib_httpx_async", "httpx_auth_async", "mcp"):
        found = asyncio.run(_run_async(globals()[name]()))
    else:
        found = _run(globals()[name]())
    print(json.dumps(found))


main()
