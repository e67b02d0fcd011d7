"""What proxies hear about a request, and what a client cannot make them hear."""

import asyncio
from typing import Any

import httpx2
import pytest
from tests.certificates import lasting
from tests.unit.resource.issuer import API, ISSUER, NOW, Issuer
from tests.unit.resource.listening import listening

from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.oauth.binding import dpop
from affiant.resource import Guard

ROUTES = {"/health": None, "GET /orders*": "orders.read", "POST /orders": "orders.write", "/deep/{id}": "orders.admin"}
PROXY = "127.0.0.1"
NAMES = {"nginx": ("X-Original-Method", "X-Original-URI"), "caddy": ("X-Forwarded-Method", "X-Forwarded-Uri")}
NAMES["traefik"] = NAMES["caddy"]
KINDS = (*NAMES, "envoy")
Asked = list[tuple[str, str]]


async def ask(
    guard: Guard, method: str, target: str, *headers: tuple[str, str], proxy: str = "nginx", peer: str = PROXY
) -> httpx2.Response:
    """Ask as this proxy does."""
    transport = httpx2.ASGITransport(guard.forward_auth(ROUTES, proxy=proxy, trusted=[PROXY]), client=(peer, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://guard.internal:8400") as http:
        if proxy == "envoy":
            return await http.request(method, f"/check{target}", headers=list(headers))
        described = zip(NAMES[proxy], (method, target), strict=True)
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in (*described, *headers)]
        return await http.get("/check", headers=encoded)


def _bearer(issuer: Issuer, **claims: Any) -> tuple[str, str]:
    return "Authorization", issuer.token(**claims).decode()


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def guard(issuer: Issuer) -> Guard:
    return issuer.guard(url=API)


@pytest.mark.parametrize("proxy", KINDS)
async def test_caller_is_named_to_the_api(guard: Guard, issuer: Issuer, proxy: str) -> None:
    token = _bearer(issuer, scope="orders.write orders.read", sub="user", client_id="billing")
    found = await ask(guard, "GET", "/orders/7?page=2", token, proxy=proxy)
    assert (found.status_code, found.content) == (200, b"")
    named = {name: value for name, value in found.headers.items() if name.startswith("affiant-")}
    assert named == {
        "affiant-issuer": ISSUER,
        "affiant-client-id": "billing",
        "affiant-subject": "user",
        "affiant-scope": "orders.read orders.write",
    }


@pytest.mark.parametrize("proxy", KINDS)
@pytest.mark.parametrize(
    ("method", "target", "scope", "status", "error"),
    [
        ("GET", "/orders", None, 401, ""),
        ("POST", "/orders", "orders.read", 403, 'error="insufficient_scope"'),
        ("HEAD", "/orders", "orders.read", 200, ""),
        ("DELETE", "/orders", "orders.read", 404, ""),
        ("GET", "/others", "orders.read", 404, ""),
        ("GET", "/orders?access_token=x", "orders.read", 400, 'error="invalid_request"'),
    ],
)
async def test_original_request_is_judged(
    guard: Guard, issuer: Issuer, proxy: str, method: str, target: str, scope: str | None, status: int, error: str
) -> None:
    headers = [_bearer(issuer, scope=scope)] if scope else []
    found = await ask(guard, method, target, *headers, proxy=proxy)
    assert found.status_code == status
    assert error in found.headers.get("WWW-Authenticate", "")


@pytest.mark.parametrize("proxy", KINDS)
async def test_public_route_names_no_caller(guard: Guard, proxy: str) -> None:
    """With every header, so that the proxy replaces those that the client sent."""
    found = await ask(guard, "GET", "/health", ("Affiant-Client-Id", "admin"), proxy=proxy)
    assert found.status_code == 200
    assert [value for name, value in found.headers.items() if name.startswith("affiant-")] == [""] * 4


@pytest.mark.parametrize("proxy", KINDS)
@pytest.mark.parametrize(
    "target",
    [
        "/orders/%2e%2e/deep/1",
        "/orders/%252e%252e/deep/1",
        "/orders/..;/deep/1",
        "/orders/..%3b/deep/1",
        "/orders;x=1",
        "/orders%2f7",
        "/orders%5c7",
        "/orders//7",
        "/orders%00",
        "/orders/%c0%ae%c0%ae/deep/1",
        "/orders/%7f",
        "/orders/%C2%85",
    ],
)
async def test_path_of_two_readings_is_refused(guard: Guard, issuer: Issuer, proxy: str, target: str) -> None:
    """The rule found for it would not be that of the route which the API serves."""
    found = await ask(guard, "GET", target, _bearer(issuer, scope="orders.read"), proxy=proxy)
    assert found.status_code == 404


@pytest.mark.parametrize(
    "target",
    [
        "",
        "orders",
        "*",
        "/orders/../deep/1",
        "http://api.example/orders",
        "/orders#/deep/1",
        "/orders\\7",
        "/orders 7",
        "/orders/%4",
        "/é",
    ],
)
async def test_target_that_is_no_path_is_refused(guard: Guard, issuer: Issuer, target: str) -> None:
    assert (await ask(guard, "GET", target, _bearer(issuer, scope="orders.read"))).status_code == 404


@pytest.mark.parametrize("method", ["get", "GET ", "G" * 33, "", "GET,POST"])
async def test_method_is_one_of_http(guard: Guard, method: str) -> None:
    """Also on a route for all methods."""
    assert (await ask(guard, "PROPFIND", "/health")).status_code == 200
    assert (await ask(guard, method, "/health")).status_code == 404


async def test_path_is_decoded_once(guard: Guard, issuer: Issuer) -> None:
    token = _bearer(issuer, scope="orders.read orders.admin")
    assert (await ask(guard, "GET", "/%6frders/%C3%A9%20a", token)).status_code == 200
    assert (await ask(guard, "GET", "/orders/100%25", token)).status_code == 200
    assert (await ask(guard, "GET", "/deep/%41?next=/a;b//../c%2f#", token)).status_code == 200


@pytest.mark.parametrize("proxy", list(NAMES))
async def test_header_that_the_client_added_is_refused(guard: Guard, issuer: Issuer, proxy: str) -> None:
    """Another kind's headers are not read; the own ones must be there once."""
    token, (method, target) = _bearer(issuer, scope="orders.write"), NAMES[proxy]
    for forged in ((method, "POST"), (target, "/health")):
        assert (await ask(guard, "GET", "/orders", token, forged, proxy=proxy)).status_code == 400
    others = [(name, value) for names in NAMES.values() for name, value in zip(names, ("POST", "/health"), strict=True)]
    others = [(name, value) for name, value in others if name not in (method, target)]
    more = [("X-HTTP-Method-Override", "POST"), ("X-Original-URL", "/health"), ("X_Original_URI", "/health")]
    assert (await ask(guard, "GET", "/orders", token, *others, *more, proxy=proxy)).status_code == 403


async def test_headers_mean_nothing_to_envoy(guard: Guard, issuer: Issuer) -> None:
    forged = [(name, value) for names in NAMES.values() for name, value in zip(names, ("POST", "/health"), strict=True)]
    found = await ask(guard, "GET", "/orders", _bearer(issuer, scope="orders.write"), *forged, proxy="envoy")
    assert found.status_code == 403


@pytest.mark.parametrize("proxy", KINDS)
@pytest.mark.parametrize("path", ["/", "/health", "/orders", "/checkorders", "/CHECK", "/check%2forders"])
async def test_other_paths_allow_nothing(guard: Guard, proxy: str, path: str) -> None:
    transport = httpx2.ASGITransport(guard.forward_auth(ROUTES, proxy=proxy, trusted=[PROXY]), client=(PROXY, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://guard.internal:8400") as http:
        assert (await http.get(path, headers={"X-Original-Method": "GET", "X-Original-URI": "/health"})).is_error


@pytest.mark.parametrize("name", ["Affiant_Client_Id", "affiant-client_id", "AFFIANT_SCOPE"])
async def test_alias_of_an_identity_header_is_refused(guard: Guard, issuer: Issuer, name: str) -> None:
    token = _bearer(issuer, scope="orders.read")
    assert (await ask(guard, "GET", "/orders", token, (name, "admin"))).status_code == 400
    assert (await ask(guard, "GET", "/orders", token, ("Affiant_Other", "x"))).status_code == 200


async def test_name_of_any_characters_stays_one_header(guard: Guard, issuer: Issuer) -> None:
    token = _bearer(issuer, scope="orders.read", client_id="a b\r\nAffiant-Scope: admin%é ", sub="https://as.example/é")
    found = await ask(guard, "GET", "/orders", token)
    assert found.headers["Affiant-Client-Id"] == "a%20b%0D%0AAffiant-Scope:%20admin%25%C3%A9%20"
    assert found.headers["Affiant-Subject"] == "https://as.example/%C3%A9"
    assert found.headers["Affiant-Scope"] == "orders.read"


@pytest.mark.parametrize("peer", ["10.0.0.1", "::1", "127.0.0.2", ""])
async def test_only_trusted_peers_are_answered(guard: Guard, issuer: Issuer, peer: str) -> None:
    found = await ask(guard, "GET", "/orders", _bearer(issuer, scope="orders.read"), peer=peer)
    assert (found.status_code, found.json()["error"]) == (403, "untrusted_proxy")
    assert (await ask(guard, "GET", "/health", peer=peer)).status_code == 403


async def test_peers_of_a_unix_socket_are_named_apart(guard: Guard) -> None:
    for trusted, client, status in (
        (["unix"], None, 200),
        (["unix"], (PROXY, 1), 403),
        ([PROXY], None, 403),
        ([PROXY, "unix"], (PROXY, 1), 200),
    ):
        app = guard.forward_auth(ROUTES, proxy="nginx", trusted=trusted)
        transport = httpx2.ASGITransport(app, client=client)  # type: ignore[arg-type] # as uvicorn does
        async with httpx2.AsyncClient(transport=transport, base_url="http://guard") as http:
            described = {"X-Original-Method": "GET", "X-Original-URI": "/health"}
            assert (await http.get("/check", headers=described)).status_code == status


@pytest.mark.parametrize("proxy", KINDS)
async def test_proof_is_for_the_request_that_the_client_sent(guard: Guard, issuer: Issuer, proxy: str) -> None:
    """Neither the address of the guard nor the Host of the client is in it."""
    key = dpop.ProofKey.of(keys.generate("ES256"))
    token = issuer.token(scope="orders.write", cnf={"jkt": key.thumbprint})[7:].decode()

    async def send(url: str, method: str = "POST") -> int:
        proof = dpop.build(key, method=method, url=url, now=NOW, access_token=token)
        forged = (("Host", "guard.internal:8400"), ("X-Forwarded-Host", "other.example"))
        headers = (("Authorization", f"DPoP {token}"), ("DPoP", proof), *forged)
        return (await ask(guard, "POST", "/orders?x=1", *headers, proxy=proxy)).status_code

    assert await send(f"{API}/orders") == 200
    for url in ("http://guard.internal:8400/check", "https://other.example/orders", f"{API}/check", f"{API}/health"):
        assert await send(url) == 401, url
    assert await send(f"{API}/orders", method="GET") == 401


@pytest.mark.rfc(8705, "3")
async def test_certificate_is_that_of_the_client(issuer: Issuer) -> None:
    """In the header that the guard is configured for, and nowhere else."""
    mine, other = lasting(), lasting()
    token = _bearer(issuer, scope="orders.read", cnf={"x5t#S256": mine.thumbprint})
    guard = issuer.guard(url=API, certificate_proxies=[PROXY])
    for header, status in ((mine.text, 200), (other.text, 401), (None, 401)):
        sent = [("Client-Cert", header)] if header is not None else []
        assert (await ask(guard, "GET", "/orders", token, *sent)).status_code == status
    assert (await ask(issuer.guard(url=API), "GET", "/orders", token, ("Client-Cert", mine.text))).status_code == 401


async def test_probes() -> None:
    """/healthz while the process lives; /readyz once the issuer's keys are here; /metrics counts the requests."""
    with listening() as issuer:
        issuer.statuses["/jwks"] = 503
        app = issuer.guard(url=API).forward_auth(ROUTES, proxy="nginx", trusted=[PROXY])
        transport = httpx2.ASGITransport(app, client=("10.9.9.9", 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://guard") as http:
            assert (await http.get("/readyz")).status_code == 503
            assert (await http.get("/healthz")).status_code == 200
            await asyncio.to_thread(issuer.await_requests, "/jwks", 1)
            issuer.statuses.clear()
            async with asyncio.timeout(10):
                while (await http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - as a load balancer does
                    await asyncio.sleep(0.01)
            assert "affiant_guard_requests_total" in (await http.get("/metrics")).text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trusted": []}, "trusted= is empty"),
        ({"trusted": "127.0.0.1"}, "takes a list"),
        ({"trusted": ["127.0.0.1/8"]}, "is 127.0.0.0/8 meant"),
        ({"proxy": "apache"}, "nginx, caddy, traefik, envoy"),
        ({"routes": {"orders": "a"}}, "is no route"),
    ],
)
def test_mistakes_are_errors_at_the_start(guard: Guard, change: dict[str, Any], message: str) -> None:
    options: dict[str, Any] = {"routes": ROUTES, "proxy": "nginx", "trusted": [PROXY], **change}
    with pytest.raises(ConfigError, match=message):
        guard.forward_auth(options.pop("routes"), **options)


def test_address_of_the_api_is_not_taken_from_the_request(issuer: Issuer) -> None:
    with pytest.raises(ConfigError, match="url="):
        issuer.guard().forward_auth(ROUTES, proxy="nginx", trusted=[PROXY])
