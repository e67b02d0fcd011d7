"""Users of the console: invited once, limited, disabled; and who may do that."""

import pytest
from tests.admin import NOW
from tests.unit.server.console.visits import done, text, visit

from affiant.server.admin.roles import Role
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Session, SignInLink, User

HERE = "/console/settings/users"


@pytest.fixture
async def store() -> MemoryStore:
    """An owner, who visits, and a viewer with a session."""
    store = MemoryStore()
    await store.users.add(User("ann", "owner", handle="h1", created_at=NOW))
    await store.users.add(User("bob", "viewer", handle="h2", created_at=NOW))
    session = Session("s", "bob", created_at=NOW, last_at=NOW, expires_at=NOW + 600, address="10.0.0.7", agent="<i>")
    await store.sign_in_links.add(SignInLink("l", "bob", created_at=NOW - 60, expires_at=NOW + 60))
    await store.sessions.begin_with_link(session, "l")
    return store


async def test_link_of_an_invited_user_is_shown_once(store: MemoryStore) -> None:
    ann = visit(store)
    page = await ann.act("user.invite", user="cleo", role="operator", then=HERE)
    assert "/console/sign-in#" in page.text
    assert page.headers["cache-control"] == "no-store"
    cleo = await store.users.find("cleo")
    assert cleo is not None
    assert cleo.role == "operator"
    assert "sign-in#" not in (await ann.get("/settings/users/cleo")).text


async def test_disabling_says_what_ends(store: MemoryStore) -> None:
    ann = visit(store)
    asked = text(await ann.ask("user.disable", user="bob", then=HERE))
    assert "The sessions that it has now end at once: 1." in asked
    assert "affiant console user disable bob" in asked
    done(await ann.act("user.disable", user="bob", then=HERE))
    bob = await store.users.find("bob")
    assert bob is not None
    assert not bob.enabled
    assert await store.sessions.list("bob") == []


async def test_role_is_changed_and_changed_back(store: MemoryStore) -> None:
    ann = visit(store)
    page = text(await ann.get(done(await ann.act("user.change", user="bob", role="operator", then=f"{HERE}/bob"))))
    assert "Undo" in page


async def test_last_owner_stays(store: MemoryStore) -> None:
    refused = await visit(store).act("user.change", user="ann", role="viewer", then=HERE)
    assert "admin.last_owner" in text(refused)


async def test_viewer_sees_users_and_changes_none(store: MemoryStore) -> None:
    eve = visit(store, Role.VIEWER, "eve")
    page = await eve.get("/settings/users")
    assert "bob" in page.text
    assert "Invite" not in text(page)
    profile = await eve.get("/settings/users/bob")
    assert "10.0.0.7" not in profile.text
    assert "user.disable" not in profile.text
    assert (await eve.act("user.remove", user="bob", then=HERE)).status_code == 403
    assert await store.users.find("bob") is not None


async def test_user_agent_is_text(store: MemoryStore) -> None:
    assert "<i>" not in (await visit(store).get("/settings/users/bob")).text


@pytest.mark.parametrize("path", ["/settings", "/settings/users"])
async def test_limited_role_sees_its_limit(store: MemoryStore, path: str) -> None:
    page = await visit(store, Role.OPERATOR, "bob", teams=frozenset({"payments"})).get(path)
    assert page.status_code == 200
    assert "Your role is limited to payments" in text(page)
    assert "ann" not in text(page)
