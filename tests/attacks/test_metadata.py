"""T12: what is published, and what lies around the endpoints."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

import httpx2
import pytest
from tests.attacks.bench import Bench, post
from tests.attacks.bench import running as bench_running
from tests.rfc.conftest import running
from tests.wire import Reply, Request

from affiant import __version__
from affiant.errors import ConfigError
from affiant.oauth import names
from affiant.server import settings
from affiant.server.keys import signing_keys
from affiant.server.keys.vault import Vault
from affiant.storage.memory import MemoryStore
from affiant.testing import ISSUER

WELL_KNOWN = "/.well-known/oauth-authorization-server"
PUBLIC = [WELL_KNOWN, names.WELL_KNOWN_OPENID, "/jwks", "/revocations", "/errors", "/errors/token.missing", "/errors/x"]
JWT_METHODS = {"private_key_jwt", "client_secret_jwt"}


async def _get(bench: Bench, path: str, *headers: tuple[bytes, bytes], method: str = "GET") -> Reply:
    return await bench.send(Request(method=method, path=path, headers=headers))


async def _document(**options: Any) -> dict[str, Any]:
    async with running(MemoryStore(), **options) as server:
        members: dict[str, Any] = (await server.http.get(WELL_KNOWN)).json()
        return members


@pytest.mark.attack(242)
@pytest.mark.parametrize(
    "methods",
    [("private_key_jwt",), ("client_secret_jwt",), ("client_secret_basic",), ("private_key_jwt", "client_secret_post")],
    ids=" ".join,
)
async def test_metadata_list_enabled_methods(methods: tuple[str, ...]) -> None:
    """Only that: the methods, the algorithms of these methods, and never `none`."""
    document = await _document(auth_methods=methods)
    assert document["issuer"] == ISSUER
    for endpoint in ("token", "introspection", "revocation"):
        assert document[f"{endpoint}_endpoint_auth_methods_supported"] == list(methods)
        algs = document.get(f"{endpoint}_endpoint_auth_signing_alg_values_supported")
        # RFC 8414 sections 2 and 3.2: there for a method that signs, and left out rather than empty.
        assert (algs is not None) == bool(JWT_METHODS & set(methods))
        has_macs = any(alg.startswith("HS") for alg in algs or ())
        assert has_macs == ("client_secret_jwt" in methods)
        assert ("ES256" in (algs or ())) == ("private_key_jwt" in methods)
    assert "none" not in json.dumps(document).lower()


@pytest.mark.attack(242)
async def test_disabled_method_does_not_authenticate(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the one form in which every client is refused."""
    async with running(MemoryStore(), auth_methods=("private_key_jwt",)) as server:
        await server.add_client("c1")
        await server.add_client("s", "client_secret_post")
        grant = {"grant_type": "client_credentials"}
        right = await server.post({**grant, "client_id": "s", "client_secret": server.secrets["s"]})
        nobody = await server.post({**grant, "client_id": "nobody", "client_secret": "x"})
        assert right.status_code == nobody.status_code == 401
        assert {**right.json(), "trace_id": ""} == {**nobody.json(), "trace_id": ""}
        assert (await server.post(server.form())).status_code == 200


@pytest.mark.attack(242)
def test_settings_name_known_methods() -> None:
    assert settings.load().methods == names.AUTH_METHODS
    assert settings.load(auth_methods="client_secret_basic, private_key_jwt").methods == (
        "private_key_jwt",
        "client_secret_basic",
    )
    for text in ("none", "private_key_jwt,password", "PRIVATE_KEY_JWT"):
        with pytest.raises(ConfigError, match="--auth-methods: write some of"):
            settings.load(auth_methods=text)


@pytest.mark.attack(242)
async def test_authorization_stub_is_optional() -> None:
    assert "authorization_endpoint" not in await _document()
    async with running(MemoryStore()) as server:
        assert (await server.http.get("/authorize")).status_code == 404
    async with running(MemoryStore(), issuer=f"{ISSUER}/t/one", authorization_endpoint="on") as server:
        document = (await server.http.get(f"{ISSUER}{WELL_KNOWN}/t/one")).json()
        assert document["authorization_endpoint"] == f"{ISSUER}/t/one/authorize"
        reply = await server.http.get(
            document["authorization_endpoint"], params={"redirect_uri": "https://evil.example"}
        )
        assert (reply.status_code, reply.json()["error"]) == (400, "unsupported_response_type")
        assert "location" not in reply.headers


@pytest.mark.attack(243)
@pytest.mark.parametrize(
    "header",
    [
        (b"host", b"evil.example"),
        (b"x-forwarded-host", b"evil.example"),
        (b"x-forwarded-proto", b"http"),
        (b"forwarded", b"host=evil.example;proto=http"),
        (b"x-forwarded-prefix", b"/evil"),
        (b"x-original-url", b"/evil"),
    ],
    ids=lambda header: header[0].decode(),
)
async def test_request_cannot_name_the_issuer(bench: Bench, header: tuple[bytes, bytes]) -> None:
    """A request's word about its host is in no URL that is published, whoever keeps the answer in a cache."""
    plain = await _get(bench, WELL_KNOWN)
    assert (await _get(bench, WELL_KNOWN, header)).body == plain.body
    assert (await bench.send(post(None, header))).status == 200


@pytest.mark.attack(244)
@pytest.mark.parametrize(
    "place", ["/tenant2", "/tenant1/", "/TENANT1", "/tenant1/x", "", "/", "/%74enant1x", "/../tenant1"]
)
async def test_another_tenant_is_not_found(place: str) -> None:
    async with running(MemoryStore(), issuer=f"{ISSUER}/tenant1") as server:
        assert (await server.http.get(f"{ISSUER}{WELL_KNOWN}/tenant1")).json()["issuer"] == f"{ISSUER}/tenant1"
        assert (await server.http.get(httpx2.URL(f"{ISSUER}{WELL_KNOWN}{place}"))).status_code == 404
        for path in ("/token", "/tenant2/token", "/jwks"):
            assert (await server.http.post(f"{ISSUER}{path}", data={"grant_type": "x"})).status_code == 404


@pytest.mark.rfc(8414, "3.1")
async def test_both_documents_are_in_both_places() -> None:
    """Databricks and others append the well-known part to an issuer with a path."""
    async with running(MemoryStore(), issuer=f"{ISSUER}/as") as server:
        for suffix in (WELL_KNOWN, names.WELL_KNOWN_OPENID):
            for path in (f"{suffix}/as", f"/as{suffix}"):
                assert (await server.http.get(f"{ISSUER}{path}")).json()["issuer"] == f"{ISSUER}/as"
            assert (await server.http.get(f"{ISSUER}{suffix}")).status_code == 404


@pytest.mark.attack(245)
@pytest.mark.parametrize("shape", ["{}", "W/{}", '"x", {}', "{}, W/{}", " {} ", "*"])
async def test_key_set_with_a_known_etag(bench: Bench, shape: str) -> None:
    """RFC 9110 section 13.1.2: any of the tags, compared weakly; and the 304 has what the 200 had."""
    reply = await _get(bench, "/jwks")
    tag = reply.headers["etag"]
    again = await _get(bench, "/jwks", (b"if-none-match", shape.replace("{}", tag).encode()))
    assert (again.status, again.body) == (304, b"")
    assert "max-age" in reply.headers["cache-control"]
    assert {name: again.headers.get(name) for name in ("etag", "cache-control")} == {
        name: reply.headers[name] for name in ("etag", "cache-control")
    }


@pytest.mark.attack(245)
@pytest.mark.parametrize("shape", ["x", '"x"', "{}x", "", "\xff"])
async def test_key_set_with_an_unknown_etag(bench: Bench, shape: str) -> None:
    tag = (await _get(bench, "/jwks")).headers["etag"]
    given = shape.replace("{}", tag.strip('"')).encode("latin-1")
    assert (await _get(bench, "/jwks", (b"if-none-match", given))).status == 200


@pytest.mark.attack(245)
async def test_kids_stay_unique_through_rotations(bench: Bench) -> None:
    """Next, signing and retiring at once: each with a name of its own, none private, and the tag changes with them.

    Auth0's Express middleware checks access tokens against the list for ID tokens: it is that of the keys.
    """
    tags, vault = {(await _get(bench, "/jwks")).headers["etag"]}, Vault(bench.master_key)
    for alg in ("ES256", "PS256", "Ed25519", "ES384"):
        await signing_keys.rotate(bench.store, vault, alg=alg, now=int(bench.clock.now), delay=2, by="a test")
        bench.clock.now += 3
        reply = await _get(bench, "/jwks")
        tags.add(reply.headers["etag"])
        members = reply.json()["keys"]
        assert len({key["kid"] for key in members}) == len(members)
        assert not {"d", "p", "q", "dp", "dq", "qi", "k", "priv", "oth"} & {name for key in members for name in key}
        listed = (await _get(bench, WELL_KNOWN)).json()["id_token_signing_alg_values_supported"]
        assert listed == sorted({key["alg"] for key in members})
        assert alg in listed
    assert len(tags) == 5


@pytest.mark.attack(246)
async def test_browsers_of_strangers(bench: Bench) -> None:
    """No page of another origin reads the answer of an endpoint, or why the server is not healthy."""
    origin = (b"origin", b"https://evil.example")
    asked = (origin, (b"access-control-request-method", b"POST"), (b"access-control-request-headers", b"dpop"))
    for path in ("/token", "/introspect", "/revoke", "/register", "/client-keys", "/admin/api", "/health", "/", "/x"):
        preflight = await _get(bench, path, *asked, method="OPTIONS")
        assert preflight.status in (400, 401, 404, 405)
        assert not [name for name in preflight.headers if name.startswith("access-control-")], path
    reply = await bench.send(post(None, origin))
    assert reply.status == 200
    assert "access-control-allow-origin" not in reply.headers
    health = await _get(bench, "/health", origin)
    assert not [name for name in health.headers if name.startswith("access-control-")]


@pytest.mark.attack(246)
@pytest.mark.parametrize("path", PUBLIC)
async def test_public_documents_allow_any_origin(bench: Bench, path: str) -> None:
    """With a preflight, which a header such as MCP-Protocol-Version causes; and never with credentials."""
    origin = (b"origin", b"https://inspector.example")
    wanted = (b"access-control-request-headers", b"mcp-protocol-version")
    preflight = await _get(bench, path, origin, (b"access-control-request-method", b"GET"), wanted, method="OPTIONS")
    assert (preflight.status, preflight.body) == (204, b"")
    assert "mcp-protocol-version" in preflight.headers["access-control-allow-headers"].lower()
    assert "GET" in preflight.headers["access-control-allow-methods"]
    for reply in (preflight, await _get(bench, path, origin)):
        assert reply.headers["access-control-allow-origin"] == "*"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-credentials" not in reply.headers


PATHS = ["/TOKEN", "/token/", "//token", "/token/x", "/./token", "/x/../token", "/token;a=b", "/token%2f", "/tok%65nx", "/token\x00", "/tokens"]  # fmt: skip


@pytest.mark.attack(247)
@pytest.mark.parametrize("path", PATHS)
async def test_near_paths_are_404(bench: Bench, path: str) -> None:
    """No second spelling reaches an endpoint: a rule of a proxy for /token holds for all that gets there."""
    before = await bench.audited()
    reply = await bench.send(Request(post().body, path=path))
    assert _refused(reply) == (404, "not_found")
    assert await bench.audited() == before
    assert (await bench.send(post())).status == 200  # its jti is not used up


@pytest.mark.attack(248)
@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/openapi.json", "/debug", "/metrics", "/admin", "/.git/config", "/.env", "/favicon.ico", "/static/../x"])  # fmt: skip
async def test_unknown_paths(bench: Bench, path: str) -> None:
    """JSON, no version, no name of a framework; nothing of help to who looks around."""
    reply = await _get(bench, path)
    assert _refused(reply) == (404, "not_found")
    _plain(reply)


@pytest.mark.attack(248)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND"])
@pytest.mark.parametrize("path", [WELL_KNOWN, "/jwks", "/health", "/errors"])
async def test_other_methods(bench: Bench, method: str, path: str) -> None:
    reply = await _get(bench, path, method=method)
    assert _refused(reply) == (405, "method_not_allowed")
    assert "GET" in reply.headers["allow"]
    _plain(reply)


def _refused(reply: Reply) -> tuple[int, str]:
    """With a trace_id, and with where the endpoints are: by the issuer, never by what the request says of its host."""
    members = reply.json()
    assert set(members) == {"error", "error_description", "trace_id"}
    assert reply.headers["x-trace-id"] == members["trace_id"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    if reply.status in (404, 405):
        assert f"{ISSUER}/token," in members["error_description"]
        assert members["error_description"].endswith(f"{ISSUER}{WELL_KNOWN}")
    return reply.status, members["error"]


def _plain(reply: Reply) -> None:
    assert reply.headers["content-type"] == "application/json"
    assert "server" not in reply.headers
    assert "x-powered-by" not in reply.headers
    text = reply.body.decode().lower()
    assert not [word for word in ("starlette", "uvicorn", "python", "affiant", "traceback", "version") if word in text]


@pytest.mark.attack(247)
@pytest.mark.parametrize("path", ["/jwks/", "/health/", "/errors/", "//jwks", f"{WELL_KNOWN}/"])
async def test_trailing_slash_does_not_redirect(bench: Bench, path: str) -> None:
    """A slash too many is another path, not a reason to send somebody to whatever stands in Host."""
    reply = await _get(bench, path, (b"host", b"evil.example"))
    assert _refused(reply) == (404, "not_found")


@pytest.mark.attack(248)
async def test_failing_page_hides_the_cause(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """500: what went wrong is for the log."""
    async with bench_running(MemoryStore(), caplog, monkeypatch) as bench:

        def broken(*_: object) -> None:
            raise RuntimeError("a secret path /srv/x")

        monkeypatch.setattr("affiant.server.published.pages.index", broken)
        replies: list[Reply] = []
        with pytest.raises(RuntimeError):  # Starlette answers, then lets the server log it
            await bench.send(Request(method="GET", path="/errors", headers=()), replies)
        assert _refused(replies[0]) == (500, "server_error")
        _plain(replies[0])


BROWSER = (b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8")


@pytest.mark.attack(248)
@pytest.mark.parametrize(
    ("path", "status"),
    [("/x", 404), ("/x%3Cscript%3E", 404), ("/x<script>alert(1)</script>", 404), ("//evil.example", 404)],
)
async def test_browser_gets_page(bench: Bench, path: str, status: int) -> None:
    """With the name, the issuer and where to go on; with nothing that the request said, and nothing that is loaded."""
    reply = await _get(bench, path, BROWSER, (b"host", b"evil.example"))
    assert reply.status == status
    text = reply.body.decode()
    assert all(f'href="{place}"' in text for place in ("/", "/errors", WELL_KNOWN, "/jwks", "/health"))
    assert ISSUER in text
    assert __version__ in text
    assert not [word for word in ("evil", "script", "src=", "http-equiv", "url(", "@import") if word in text.lower()]
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert (reply.headers["x-content-type-options"], reply.headers["vary"]) == ("nosniff", "Accept")
    assert (reply.headers["x-trace-id"] in text) == (status == 404)


@pytest.mark.attack(248)
@pytest.mark.parametrize(("path", "home"), [("", "/"), ("/as", "/as"), ("/as", "/as/")])
async def test_browser_is_led_to_console(path: str, home: str) -> None:
    """By a path, not to the host that the request names; a program gets 404, as before."""
    async with running(MemoryStore(), issuer=f"{ISSUER}{path}") as server:
        url = f"{ISSUER}{home}"
        led = await server.http.get(
            url, headers={"accept": "text/html", "host": "evil.example"}, follow_redirects=False
        )
        assert (led.status_code, led.headers["location"]) == (303, f"{path}/console")
        assert (await server.http.get(url)).status_code == 404


@pytest.mark.attack(248)
async def test_links_of_pages_lead_somewhere() -> None:
    """Of the home page, an unknown one and that of a reason, for an issuer with a path."""
    async with running(MemoryStore(), issuer=f"{ISSUER}/as", console="off") as server:
        browser = {"accept": BROWSER[1].decode()}
        for path in ("/as", "/as/", "/", "/as/errors", "/as/errors/token.missing", "/as/errors/x"):
            text = (await server.http.get(f"{ISSUER}{path}", headers=browser)).text
            found = set(re.findall(r'href="([^"]+)"', text))
            assert len(found) >= 5
            for place in found:
                assert (await server.http.get(f"{ISSUER}{place}", headers=browser)).status_code == 200, place


@pytest.mark.attack(248)
async def test_style_is_one_that_is_allowed(bench: Bench) -> None:
    reply = await _get(bench, "/errors", BROWSER)
    (style,) = re.findall(r"<style>(.*?)</style>", reply.body.decode())
    allowed = b64encode(sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{allowed}'" in reply.headers["content-security-policy"]


@pytest.mark.attack(302)
async def test_unknown_path_is_logged_safely(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The trace_id is in the log at INFO; a token in the path is not, and no line is forged."""
    secret = "eyJ" + "x" * 40
    reply = await _get(bench, f"/a\nINFO forged/{secret}")
    (line,) = [record.getMessage() for record in caplog.records if reply.headers["x-trace-id"] in record.getMessage()]
    assert "\n" not in line
    assert secret not in line
    assert await bench.audited() == []
