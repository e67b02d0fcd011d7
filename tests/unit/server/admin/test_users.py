"""Users of the console in the admin API: only owners change them, the last owner stays, each manages its own access."""

from typing import Any

import httpx2
import pytest
from tests.admin import ISSUER, MASTER, NOW, OWNER, asking
from tests.stores import records

from affiant.server.admin.roles import Principal, Role
from affiant.server.admin.routes.users import rules
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Passkey, Session, Team, UsedChallenge, User

LOCAL = Principal("cli", Role.OWNER, is_local=True)


def _user(name: str = "alice", role: Role = Role.OWNER) -> Principal:
    return Principal(f"user:{name}", role, is_user=True)


async def _store(*users: tuple[str, str]) -> MemoryStore:
    store = MemoryStore()
    for name, role in users:
        await store.users.add(User(name, role, created_at=NOW))
    return store


async def _ask(store: MemoryStore, who: Principal, what: str, body: Any = None, **headers: str) -> httpx2.Response:
    method, path = what.split(" ")
    async with asking(store, who) as http:
        return (
            await http.request(method, path, json=body, headers=headers)
            if body is not None
            else await http.request(method, path, headers=headers)
        )


async def _session(store: MemoryStore, name: str, username: str, *, last_at: int = NOW) -> None:
    link, _ = rules.make_link(MASTER, username, now=last_at, seconds=60)
    await store.sign_in_links.add(link)
    session = Session(name, username, last_at, last_at, last_at + 40_000, "192.0.2.1", "Firefox")
    await store.sessions.begin_with_link(session, link.id)


async def test_a_user_from_beginning_to_end() -> None:
    store = await _store()
    await store.teams.add(Team("payments"))
    made = await _ask(store, OWNER, "POST /users", {"name": "alice", "role": "operator", "teams": ["payments"]})
    assert (made.status_code, made.json()) == (
        201,
        {"name": "alice", "role": "operator", "teams": ["payments"], "enabled": True, "created_at": NOW},
    )
    assert (await _ask(store, OWNER, "POST /users", {"name": "alice"})).status_code == 409
    assert (await _ask(store, OWNER, "POST /users", {"name": "bob"})).json()["role"] == "viewer"
    shown = await _ask(store, _user("bob", Role.VIEWER), "GET /users/alice")
    changed = await _ask(store, OWNER, "PATCH /users/alice", {"teams": []}, **{"if-match": shown.headers["etag"]})
    assert (changed.status_code, changed.json()["teams"]) == (200, [])
    stale = await _ask(store, OWNER, "PATCH /users/alice", {"role": "owner"}, **{"if-match": shown.headers["etag"]})
    assert stale.json()["reason"] == "admin.changed"
    assert [user["name"] for user in (await _ask(store, OWNER, "GET /users")).json()["items"]] == ["alice", "bob"]
    assert (await _ask(store, OWNER, "DELETE /users/alice")).status_code == 204
    assert (await _ask(store, OWNER, "GET /users/alice")).status_code == 404
    subjects = [record["subject"] for record in await records(store) if record["outcome"] != "refused"]
    assert subjects == ["user alice", "user bob", "user alice", "user alice"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"name": "Alice"},
        {"name": "a/b"},
        {"name": "<b>"},
        {"name": ""},
        {"name": "a" * 65},
        {"name": "alice", "role": "root"},
        {"name": "alice", "role": None, "x": 1},
        {"name": "alice", "teams": ["A b"]},
        {"name": "alice", "enabled": False},
    ],
)
async def test_users_that_cannot_be(wanted: dict[str, Any]) -> None:
    store = await _store()
    assert (await _ask(store, OWNER, "POST /users", wanted)).status_code == 422
    assert await store.users.list() == []


async def test_a_link_is_shown_once() -> None:
    store = await _store(("alice", "viewer"))
    made = (await _ask(store, OWNER, "POST /users/alice/links", {"expires_in": 120})).json()
    url, _, token = made["url"].partition("#")
    assert (url, made["expires_at"], made["user"]) == (f"{ISSUER}/console/sign-in", NOW + 120, "alice")
    stored = await store.sign_in_links.find(rules.link_id(MASTER, token))
    assert stored is not None
    assert token not in repr(stored)
    (record,) = await records(store)
    assert token not in str(record)
    assert record["subject"] == "sign-in link of alice"
    for body, status in (({"expires_in": 59}, 422), ({"expires_in": 86_401}, 422), ({}, 201)):
        assert (await _ask(store, OWNER, "POST /users/alice/links", body)).status_code == status
    await _ask(store, OWNER, "PATCH /users/alice", {"enabled": False})
    assert (await _ask(store, OWNER, "POST /users/alice/links", {})).status_code == 404


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:8377", "http://localhost:8377", "http://[::1]:8377"])
def test_on_loopback_a_link_names_a_host(issuer: str) -> None:
    assert rules.link_url(issuer, "x") == "http://localhost:8377/console/sign-in#x"
    assert rules.link_url(f"{issuer}/a", "x") == "http://localhost:8377/a/console/sign-in#x"
    assert rules.link_url("https://as.example/a", "x") == "https://as.example/a/console/sign-in#x"


@pytest.mark.parametrize("what", ["DELETE", "role", "enabled"])
async def test_the_last_owner_stays(what: str) -> None:
    """Over the network; at the data folder a link can be made for another one, and a client that is an owner stays."""
    body = {"role": {"role": "operator"}, "enabled": {"enabled": False}}.get(what)
    ask = f"{'DELETE' if what == 'DELETE' else 'PATCH'} /users/alice"
    store = await _store(("alice", "owner"), ("bob", "operator"))
    refused = await _ask(store, _user(), ask, body)
    assert (refused.status_code, refused.json()["reason"]) == (409, "admin.last_owner")
    await store.users.add(User("carol", "owner", enabled=False))
    assert (await _ask(store, _user(), ask, body)).status_code == 409
    await store.users.add(User("dave", "owner"))
    assert (await _ask(store, _user(), ask, body)).status_code in (200, 204)
    for who in (OWNER, LOCAL):
        store = await _store(("alice", "owner"))
        assert (await _ask(store, who, ask, body)).status_code in (200, 204)


async def test_passkeys_are_managed_by_their_user_and_by_owners() -> None:
    store = await _store(("alice", "viewer"), ("bob", "viewer"))
    for name in ("alice", "bob"):
        await store.passkeys.add(Passkey(f"{name}-1", name, b"key", 0, "laptop", NOW), UsedChallenge(name, NOW + 60))
    alice = _user("alice", Role.VIEWER)
    (shown,) = (await _ask(store, alice, "GET /users/alice/passkeys")).json()
    assert shown == {"id": "alice-1", "user": "alice", "label": "laptop", "created_at": NOW, "last_used_at": None}
    renamed = await _ask(store, alice, "PATCH /users/alice/passkeys/alice-1", {"label": "phone"})
    assert renamed.json()["label"] == "phone"
    assert (await _ask(store, alice, "PATCH /users/alice/passkeys/alice-1", {"label": "a\nb"})).status_code == 422
    for what in ("GET /users/bob/passkeys", "DELETE /users/bob/passkeys/bob-1"):
        refused = await _ask(store, alice, what)
        assert (refused.status_code, refused.json()["reason"]) == (403, "admin.owner_only")
    assert (await _ask(store, alice, "DELETE /users/alice/passkeys/bob-1")).status_code == 404
    assert (await _ask(store, Principal("user:bob", Role.OPERATOR), "GET /users/bob/passkeys")).status_code == 403
    assert (await _ask(store, OWNER, "DELETE /users/bob/passkeys/bob-1")).status_code == 204
    assert (await _ask(store, alice, "DELETE /users/alice/passkeys/alice-1")).status_code == 204


async def test_sessions_are_seen_and_ended_by_their_user_and_by_owners() -> None:
    store = await _store(("alice", "operator"), ("bob", "viewer"))
    for name, username in (("a1", "alice"), ("a2", "alice"), ("b1", "bob")):
        await _session(store, name, username)
    await _session(store, "idle", "alice", last_at=NOW - rules.IDLE_SECONDS)
    alice = _user("alice", Role.OPERATOR)

    async def seen(who: Principal, query: str = "") -> list[str]:
        return [row["id"] for row in (await _ask(store, who, f"GET /sessions{query}")).json()["items"]]

    assert (await seen(OWNER), await seen(OWNER, "?user=bob")) == (["a1", "a2", "b1"], ["b1"])
    assert await seen(alice) == await seen(alice, "?user=alice") == ["a1", "a2"]
    assert (await _ask(store, alice, "GET /sessions?user=bob")).status_code == 403
    assert (await _ask(store, alice, "DELETE /sessions/b1")).status_code == 403
    assert (await _ask(store, alice, "DELETE /sessions/a1")).status_code == 204
    assert (await _ask(store, alice, "DELETE /sessions/a1")).status_code == 404
    assert (await _ask(store, OWNER, "DELETE /sessions/b1")).status_code == 204
    assert await seen(OWNER) == ["a2"]
