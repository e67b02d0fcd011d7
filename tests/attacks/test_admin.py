"""T15: the admin API. Who may not, does not; what came is never told; what was done is written down."""

import json
from pathlib import Path
from typing import Any

import pytest
from reference import matrix
from tests.attacks.bench import STRANGER, Bench, api_proof, dpop, piece_of, proof
from tests.attacks.callers import ADMIN, CLIENT, NOBODY, OTHER_OWNER, ROLES, ask, credentials, token
from tests.wire import Reply, Request

from affiant.server.admin import roles
from affiant.server.admin.routes import ALL
from affiant.server.admin.routes.operation import Operation
from affiant.storage.entries import Revocation
from affiant.testing import ISSUER, KEY

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "admin.md"
BODIES: dict[str, Any] = {
    "POST /clients": {"client_id": "new", "token_endpoint_auth_method": "client_secret_basic"},
    "PATCH /clients/{client_id}": {"scope": ["r"]},
    "POST /clients/{client_id}/keys": {"jwk": STRANGER.public().to_jwk()},
    "POST /clients/{client_id}/keys/complete": {"kid": KEY.kid},
    "POST /clients/{client_id}/keys/cancel": {"kid": KEY.kid},
    "POST /clients/{client_id}/keys/revoke": {"kid": KEY.kid},
    "POST /clients/{client_id}/secrets": {},
    "POST /clients/{client_id}/secrets/revoke": {"id": "x"},
    "POST /apis": {"identifier": "https://new.example", "name": "new"},
    "PATCH /apis/{identifier:path}": {"name": "renamed"},
    "POST /trusts": {"name": "new", "issuer": "https://new.example"},
    "PATCH /trusts/{name}": {"max_lifetime": 60},
    "POST /rules": {"name": "new", "trust": "x", "client_id": "c2", "conditions": {"sub": ["job"]}},
    "PATCH /rules/{name}": {"scope": ["r"]},
    "POST /initial-access-tokens": {},
    "POST /revocations": {"kind": "jti", "value": "x"},
    "POST /explain": {"request": "a=b"},
    "POST /dry-run": {"changes": []},
    "POST /signing-keys": {},
    "POST /users": {"name": "new"},
    "PATCH /users/{name}": {"role": "viewer"},
    "POST /users/{name}/links": {},
    "PATCH /users/{name}/passkeys/{id}": {"label": "new"},
}
NAMES = {
    "client_id": "c2",
    "identifier:path": "https://other.example",
    "trace_id": "x",
    "jti": "x",
    "kid": "x",
    "id": "x",
    "name": "x",
}


def path_of(route: Operation) -> str:
    path = route.path
    for name, value in NAMES.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def named(route: Operation) -> str:
    return f"{route.method} {route.path}"


async def routes(bench: Bench) -> list[Operation]:
    """What the router of the running server has, not what somebody listed."""
    await ask(bench, NOBODY, "GET /clients")
    server: Any = bench.app
    found = server._below["/admin/api"]._app._app._routes
    assert all(isinstance(route, Operation) for route in found)
    return list(found)


@pytest.mark.attack(285)
async def test_no_route_without_a_token(staffed: Bench) -> None:
    """Not by any route of the router, nor by one that is not there, by any method."""
    await staffed.add_client("scopeless", resources=(ADMIN,))
    declared = await routes(staffed)
    assert len(declared) == len(ALL) + 1
    before = await staffed.store.version()
    for what in [*(f"{route.method} {path_of(route)}" for route in declared), "GET /nothing", "TRACE /clients", "GET "]:
        body = BODIES.get(what)
        for who, status in ((NOBODY, 401), (CLIENT, 401), ("scopeless", 403)):
            reply = await ask(staffed, who, what, body)
            assert (reply.status, "www-authenticate" in reply.headers) == (status, True), (what, who, reply.body)
            assert reply.json()["reason"].startswith("token.")
    assert await staffed.store.version() == before


@pytest.mark.attack(287)
async def test_role_matrix(staffed: Bench) -> None:
    """Each role with each route: refused exactly where the published matrix has no mark."""
    published = matrix.parse(PAGE.read_text("utf-8"))
    declared = await routes(staffed)
    assert set(published) == {named(route) for route in declared}
    held = {who: await credentials(staffed, who) for who in ROLES}
    for route in declared:
        for who in ROLES:
            what = f"{route.method} {path_of(route)}"
            reply = await ask(staffed, who, what, BODIES.get(named(route)), held=held[who])
            is_denied = reply.status == 403 and reply.json()["reason"] == "token.insufficient_scope"
            assert is_denied != published[named(route)][who], (named(route), who, reply.status, reply.body)
            assert reply.status < 500, reply.body


def test_reference_is_generated() -> None:
    assert matrix.build() in PAGE.read_text("utf-8"), "run  python -m reference"


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ((b"x-http-method-override", b"DELETE"), ""),
        ((b"x-method-override", b"DELETE"), ""),
        ((b"x-forwarded-user", b"owner"), ""),
        ((b"x-original-url", b"/health"), ""),
    ],
)
@pytest.mark.attack(288)
async def test_method_override_headers_are_ignored(staffed: Bench, headers: tuple[bytes, bytes], query: str) -> None:
    reply = await ask(staffed, "viewer", "GET /clients/c1", None, headers, query=query)
    assert (reply.status, reply.json()["client_id"]) == (200, "c1")
    assert await staffed.store.clients.find("c1") is not None


@pytest.mark.attack(288)
async def test_no_method_by_another_name(staffed: Bench) -> None:
    for what in (
        "get /clients",
        "Delete /clients/c1",
        "POST /clients/c1",
        "PUT /clients/c1",
        "HEAD /clients",
        "OPTIONS /clients",
    ):
        assert (await ask(staffed, "owner", what)).status == 405, what
    assert (await ask(staffed, "owner", "PUT /clients")).headers["allow"] == "GET, POST"
    reply = await ask(staffed, "owner", "GET /clients", query="_method=DELETE")
    assert (reply.status, reply.json()["reason"]) == (400, "admin.query")


@pytest.mark.attack(289)
@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=0",
        "limit=1000000000",
        "limit=1e3",
        "sort=%3Bdrop%20table",
        "cursor=x",
        "cursor=JyBPUiAxPTE",
        "cursor=%00",
        "cursor=" + "A" * 64,
        "cursor=" + "A" * 2000,
        "limit=1&limit=2",
    ],
)
async def test_lists_take_nothing_else(staffed: Bench, query: str) -> None:
    for path in ("clients", "audit", "apis", "refresh-tokens"):
        reply = await ask(staffed, "viewer", f"GET /{path}", query=query)
        assert (reply.status, reply.json()["reason"][:6]) == (400, "admin."), reply.body


@pytest.mark.attack(289)
async def test_cursor_of_another_list(staffed: Bench) -> None:
    """CVE-2026-33504: what a caller can change in a cursor must not reach the store."""
    first = (await ask(staffed, "viewer", "GET /clients", query="limit=2")).json()
    following = await ask(staffed, "viewer", "GET /clients", query=f"limit=2&cursor={first['next']}")
    names = [item["client_id"] for page in (first, following.json()) for item in page["items"]]
    assert names == [client.client_id for client in await staffed.store.clients.list(limit=4)]
    for path, more in (("audit", ""), ("grants", ""), ("apis", "")):
        reply = await ask(staffed, "viewer", f"GET /{path}", query=f"cursor={first['next']}{more}")
        assert (reply.status, reply.json()["reason"]) == (400, "admin.cursor")
    page = (await ask(staffed, "viewer", "GET /audit", query="limit=1&outcome=issued")).json()
    other = await ask(staffed, "viewer", "GET /audit", query=f"limit=1&outcome=refused&cursor={page['next']}")
    assert other.json()["reason"] == "admin.cursor"
    for place in range(0, len(first["next"]), 7):
        cut = first["next"]
        forged = cut[:place] + ("B" if cut[place] != "B" else "C") + cut[place + 1 :]
        reply = await ask(staffed, "viewer", "GET /clients", query=f"cursor={forged}")
        assert reply.status == 400, forged


SECRET_METHODS = ("client_secret_basic", "client_secret_post", "client_secret_jwt")


@pytest.mark.attack(295)
@pytest.mark.attack(297)
@pytest.mark.parametrize("method", SECRET_METHODS)
async def test_secret_is_shown_once(staffed: Bench, method: str) -> None:
    wanted = {"client_id": "new", "token_endpoint_auth_method": method}
    made = await ask(staffed, "owner", "POST /clients", wanted)
    secret = made.json()["client_secret"]
    assert (made.status, made.headers["cache-control"]) == (201, "no-store")
    rotated = (await ask(staffed, "operator", "POST /clients/new/secrets", {})).json()["client_secret"]
    assert rotated != secret
    for route in await routes(staffed):
        if route.method == "GET":
            path = path_of(route).replace("/c2", "/new")
            reply = await ask(staffed, "owner", f"GET {path}")
            assert piece_of(reply.body.decode(), [secret, rotated]) is None, path
            assert reply.headers["cache-control"] == "no-store"
    for text in (*await staffed.audited(), staffed.log.text):
        assert piece_of(text, [secret, rotated]) is None


@pytest.mark.attack(295)
async def test_private_key_is_refused_and_hidden(staffed: Bench) -> None:
    private = KEY.to_jwk()
    wanted = {"client_id": "new", "jwks": {"keys": [private]}}
    reply = await ask(staffed, "owner", "POST /clients", wanted)
    assert (reply.status, reply.json()["reason"]) == (422, "admin.invalid")
    texts = [reply.body.decode(), *await staffed.audited(), staffed.log.text]
    texts += [
        (await ask(staffed, "owner", f"GET /{path}")).body.decode() for path in ("signing-keys", "clients", "audit")
    ]
    for text in texts:
        assert piece_of(text, [private["d"]]) is None


@pytest.mark.attack(301)
async def test_last_owner_stays(staffed: Bench) -> None:
    """Removed, disabled, demoted or cut off from the API: never the last one; the admin API itself neither."""
    assert (await ask(staffed, "owner", f"DELETE /clients/{OTHER_OWNER}")).status == 204
    attempts: list[tuple[str, Any]] = [
        ("DELETE /clients/owner", None),
        ("PATCH /clients/owner", {"enabled": False}),
        ("PATCH /clients/owner", {"scope": ["admin.operator"]}),
        ("PATCH /clients/owner", {"scope": []}),
        ("PATCH /clients/owner", {"resources": ["https://api.example"]}),
        ("PATCH /clients/owner", {"grant_types": ["refresh_token"]}),
        (f"DELETE /apis/{ADMIN}", None),
        (f"PATCH /apis/{ADMIN}", {"scopes": []}),
    ]
    for what, body in attempts:
        reply = await ask(staffed, "owner", what, body)
        assert (reply.status, reply.json()["reason"]) == (409, "admin.last_owner"), (what, reply.body)
    assert (await ask(staffed, "owner", "GET /clients")).status == 200


@pytest.mark.attack(301)
async def test_removed_client_takes_its_tokens_along(staffed: Bench) -> None:
    standing = await token(staffed, OTHER_OWNER)
    assert (await ask(staffed, "owner", f"DELETE /clients/{OTHER_OWNER}")).status == 204
    assert await _status(staffed, standing) == 401
    await staffed.add_client(OTHER_OWNER, scope=("admin.owner",), resources=(ADMIN,))
    assert await _status(staffed, standing) == 401, "a namesake brought it back"


@pytest.mark.attack(301)
async def test_last_signing_key_is_replaced(staffed: Bench) -> None:
    (key,) = await staffed.store.signing_keys.list()
    standing = await token(staffed, "viewer")
    reply = await ask(staffed, "owner", f"DELETE /signing-keys/{key.kid}")
    assert (reply.status, reply.json()["state"]) == (200, "removed")
    assert reply.json()["signer"] != key.kid
    assert await _status(staffed, standing) == 401
    assert (await ask(staffed, "viewer", "GET /clients")).status == 200


async def _status(bench: Bench, text: str, scheme: bytes = b"Bearer", *headers: tuple[bytes, bytes]) -> int:
    authorization = (b"authorization", scheme + b" " + text.encode())
    reply = await bench.send(Request(b"", "GET", "/admin/api/clients", headers=(authorization, *headers)))
    return reply.status


ESCALATIONS: list[tuple[str, Any]] = [
    ("PATCH /clients/c1", {"scope": ["admin.owner"]}),
    ("PATCH /clients/c1", {"scope": ["r", "admin.viewer"]}),
    ("PATCH /clients/c1", {"resources": [ADMIN]}),
    ("PATCH /clients/c1", {"introspects": [ADMIN]}),
    ("PATCH /clients/operator", {"scope": ["admin.owner"]}),
    ("PATCH /clients/owner", {"jwks": {"keys": [STRANGER.public().to_jwk()]}}),
    ("PATCH /clients/owner", {"enabled": False}),
    ("PATCH /clients/owner", {"dpop_bound_access_tokens": True}),
    ("POST /clients/owner/keys", {"jwk": STRANGER.public().to_jwk()}),
    ("POST /clients/owner/keys/revoke", {"kid": KEY.kid}),
    ("POST /clients/owner/secrets", {}),
    ("POST /rules", {"name": "r", "trust": "t", "client_id": "owner", "conditions": {"sub": ["job"]}}),
    ("POST /initial-access-tokens", {"scope": ["admin.owner"]}),
    ("POST /initial-access-tokens", {"resources": [ADMIN]}),
]


@pytest.mark.attack(287)
@pytest.mark.parametrize(("what", "body"), ESCALATIONS)
async def test_operator_does_not_become_owner(staffed: Bench, what: str, body: Any) -> None:
    before = await staffed.store.version()
    reply = await ask(staffed, "operator", what, body)
    assert (reply.status, reply.json()["reason"]) == (403, "admin.owner_only"), reply.body
    assert await staffed.store.version() == before


@pytest.mark.attack(287)
async def test_admin_api_is_never_default(staffed: Bench) -> None:
    """Or every client that names no API would get its tokens for this one."""
    assert (await ask(staffed, "owner", f"PATCH /apis/{ADMIN}", {"is_default": True})).status == 409
    await staffed.store.apis.remove(ADMIN)
    wanted = {"identifier": ADMIN, "name": "admin", "scopes": list(roles.SCOPES), "is_default": True}
    assert await staffed.store.apis.find(ADMIN) is None
    assert (await ask(staffed, CLIENT, "POST /apis", wanted)).status == 401


@pytest.mark.attack(285)
async def test_changed_caller_loses_access_at_once(staffed: Bench) -> None:
    """Demoted, disabled, revoked, or for two APIs at once: at once no more."""
    both = ("https://api.example", ADMIN)
    await staffed.add_client("two", scope=("admin.owner", "r"), resources=both)
    standing = await token(staffed, "operator")
    for change, status in (({"scope": ()}, 403), ({"resources": ()}, 403), ({"enabled": False}, 401)):
        kept = await staffed.store.clients.find("operator")
        assert kept is not None
        await staffed.change_client("operator", **change)
        assert await _status(staffed, standing) == status, change
        await staffed.store.clients.update("operator", lambda _, kept=kept: kept)  # type: ignore[misc]
        assert await _status(staffed, standing) == 200
    reply = await ask(staffed, "owner", "POST /revocations", {"kind": "client", "value": "operator"})
    assert (reply.status, await _status(staffed, standing)) == (201, 401)


@pytest.mark.attack(287)
async def test_scope_of_token_is_limit(staffed: Bench) -> None:
    """An owner who asked for less can do less."""
    await staffed.add_client("careful", scope=roles.SCOPES, resources=(ADMIN,))
    text = await token(staffed, "careful", scope="admin.viewer")
    authorization = (b"authorization", f"Bearer {text}".encode())
    sent = Request(b"", "DELETE", "/admin/api/clients/c1", headers=(authorization,))
    assert (await staffed.send(sent)).status == 403


@pytest.mark.attack(289)
@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b'{"client_id":"a","client_id":"b"}', 400, "admin.json"),
        (b"[]", 400, "admin.json"),
        (b"", 400, "admin.json"),
        (b"\xff", 400, "admin.json"),
        (b'{"client_id":"\\ud800"}', 400, "admin.json"),
        (b"[" * 60_000, 400, "admin.json"),
        (b'{"client_id":NaN}', 400, "admin.json"),
        (b'{"client_id":"new","enabled":true}', 422, "admin.invalid"),
        (b'{"client_id":"new\\u0000"}', 422, "admin.invalid"),
        (b'{"client_id":"../x"}', 422, "admin.invalid"),
        (b'{"client_id":1}', 422, "admin.invalid"),
        (b'{"client_id":"c1","token_endpoint_auth_method":"client_secret_basic"}', 409, "admin.exists"),
        (b'{"a":"' + b"x" * 65_536 + b'"}', 413, "request.too_large"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_body_is_one_strict_object(staffed: Bench, body: bytes, status: int, reason: str) -> None:
    reply = await ask(staffed, "owner", "POST /clients", body)
    assert (reply.status, reply.json()["reason"]) == (status, reason), reply.body
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["type"] == f"{ISSUER}/errors/{reason}"


@pytest.mark.attack(289)
async def test_form_is_no_document(staffed: Bench) -> None:
    """What a page of another origin can make a browser send."""
    for kind in (b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data"):
        given = await credentials(staffed, "owner")
        sent = Request(b'{"client_id":"new"}', "POST", "/admin/api/clients", headers=(*given, (b"content-type", kind)))
        reply: Reply = await staffed.send(sent)
        assert (reply.status, reply.json()["reason"]) == (400, "admin.json")


@pytest.mark.attack(285)
async def test_bound_token_needs_its_proof(staffed: Bench) -> None:
    """RFC 9449 section 7: shown as Bearer, without a proof, with another's or twice, it is a stolen one."""
    held = str((await staffed.good(staffed.signed("viewer", dpop(proof()), resource=ADMIN)))["access_token"])
    good = api_proof(held, htu=f"{ADMIN}/clients")
    assert await _status(staffed, held) == 401
    assert await _status(staffed, held, b"DPoP") == 401
    assert await _status(staffed, held, b"DPoP", dpop(api_proof(held, htu=f"{ADMIN}/apis"))) == 401
    assert await _status(staffed, held, b"DPoP", dpop(good)) == 200
    assert await _status(staffed, held, b"DPoP", dpop(good)) == 401


async def test_every_change_is_audited(staffed: Bench) -> None:
    """Who, what, before and after, in the one record of the request."""
    wanted = {"client_id": "new", "token_endpoint_auth_method": "client_secret_basic", "scope": ["r"]}
    made = await ask(staffed, "owner", "POST /clients", wanted)
    changed = await ask(staffed, "operator", "PATCH /clients/new", {"scope": ["r", "w"]})
    gone = await ask(staffed, "owner", "DELETE /clients/new")
    found = []
    for reply in (made, changed, gone):
        record = await staffed.store.audit_log.find(reply.headers["x-trace-id"])
        assert record is not None
        found.append((record["outcome"], record["by"], record["client_id"], record["subject"]))
    assert found == [
        ("created", "owner", "owner", "client new"),
        ("changed", "operator", "operator", "client new"),
        ("removed", "owner", "owner", "client new"),
    ]
    record = await staffed.store.audit_log.find(changed.headers["x-trace-id"])
    assert record is not None
    assert json.loads(record["before"]) == {"scope": ["r"]}
    assert json.loads(record["after"]) == {"scope": ["r", "w"]}


async def test_stale_change_is_refused(staffed: Bench) -> None:
    tag = (await ask(staffed, "operator", "GET /clients/c1")).headers["etag"].encode()
    first = await ask(staffed, "operator", "PATCH /clients/c1", {"scope": ["w"]}, (b"if-match", tag))
    second = await ask(staffed, "operator", "PATCH /clients/c1", {"scope": ["r"]}, (b"if-match", tag))
    assert (first.status, second.status, second.json()["reason"]) == (200, 412, "admin.changed")


async def test_revocations_are_listed(staffed: Bench) -> None:
    now = int(staffed.clock.now)
    reply = await ask(staffed, "operator", "POST /revocations", {"kind": "key", "value": "t", "client_id": "c1"})
    assert reply.json() == {"kind": "key", "value": "c1 t", "at": now, "until": now + 3600}
    assert await staffed.store.revocations.list(now) == [Revocation("key", "c1 t", now, now + 3600)]
    for wrong in ({"kind": "all", "value": "x"}, {"kind": "key", "value": "t"}, {"kind": "client"}):
        assert (await ask(staffed, "operator", "POST /revocations", wrong)).status == 422
    assert (await ask(staffed, "operator", "POST /revocations", {"kind": "all"})).status == 201


@pytest.mark.parametrize("path", ["/clients/c1", "/apis/https://other.example"])
async def test_nothing_is_removed_that_was_changed(staffed: Bench, path: str) -> None:
    """RFC 9110 section 13.1.1: a precondition that does not hold stops every method."""
    tag = (await ask(staffed, "owner", f"GET {path}")).headers["etag"].encode()
    for other in (b'"other"', b"W/" + tag, b"", b'"a", "b"', tag[:-2] + b'"'):
        reply = await ask(staffed, "owner", f"DELETE {path}", None, (b"if-match", other))
        assert (reply.status, reply.json()["reason"]) == (412, "admin.changed"), other
    assert (await ask(staffed, "owner", f"DELETE {path}", None, (b"if-match", b'"a", ' + tag))).status == 204


async def test_if_match_with_several_tags(staffed: Bench) -> None:
    """RFC 9110 section 13.1.1: any of several tags, and `*` for whatever stands."""
    tag = (await ask(staffed, "operator", "GET /clients/c1")).headers["etag"].encode()
    for given in (b'"a",' + tag, b"*"):
        reply = await ask(staffed, "operator", "PATCH /clients/c1", {"scope": ["w"]}, (b"if-match", given))
        assert reply.status == 200, given
    assert (await ask(staffed, "owner", "DELETE /clients/nobody", None, (b"if-match", b"*"))).status == 404
