from dataclasses import replace

import pytest
from tests.admin import ADMIN, NOW, make_context, member

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.server.admin.access import owners
from affiant.server.admin.calls import Call
from affiant.server.admin.roles import Principal, Role
from affiant.server.request.notes import Request
from affiant.storage.memory import MemoryStore
from affiant.storage.registry import OtherClient


def call(store: MemoryStore, name: str, *, is_local: bool = False) -> Call:
    who = Principal(name, Role.OWNER, is_local=is_local)
    return Call(make_context(store), Request("admin", "", float(NOW)), who, store)


async def staff(*names: str) -> MemoryStore:
    store = MemoryStore()
    for name in names:
        await store.clients.add(member(name))
    return store


async def remove(
    store: MemoryStore, by: str, name: str, seen: list[str] | None = None, *, is_local: bool = False
) -> None:
    async def act(condition: OtherClient | None) -> None:
        if seen is not None and condition is not None:
            seen.append(condition.client_id)
        await store.clients.remove(name, condition=condition)

    await owners.keeping_one(call(store, by, is_local=is_local), name, act)


async def test_the_caller_is_the_owner_that_is_left() -> None:
    store, seen = await staff("a", "b"), list[str]()
    await remove(store, "a", "b", seen)
    assert seen == ["a"], "nobody had to be looked for"


async def test_an_owner_that_leaves_needs_another() -> None:
    store, seen = await staff("a", "b", "c"), list[str]()
    await remove(store, "b", "b", seen)
    assert seen == ["b", "a"]


async def test_last_one_stays() -> None:
    store = await staff("a")
    await store.clients.add(member("v", Role.VIEWER))
    await store.clients.add(replace(member("off"), enabled=False))
    await store.clients.add(replace(member("refresher"), grant_types=("refresh_token",)))
    await store.clients.add(replace(member("registered"), registered_by="t"))
    with pytest.raises(Rejected) as error:
        await remove(store, "a", "a")
    assert error.value.reason is Reason.ADMIN_LAST_OWNER
    await remove(store, "a", "v")
    await remove(store, "anybody", "a", is_local=True)
    assert await store.clients.find("a") is None


async def test_an_owner_that_was_demoted_since_does_not_count() -> None:
    """Between the look and the commit another node removes the one who was to be left, each time."""
    store, tried = await staff("a", *(f"b{number}" for number in range(20))), list[str]()

    async def act(condition: OtherClient | None) -> None:
        assert condition is not None
        tried.append(condition.client_id)
        if condition.client_id != "a":
            await store.clients.remove(condition.client_id)
        await store.clients.remove("a", condition=condition)

    with pytest.raises(Rejected) as error:
        await owners.keeping_one(call(store, "a"), "a", act)
    assert (error.value.reason, len(tried)) == (Reason.ADMIN_LAST_OWNER, 8)
    assert await store.clients.find("a") is not None


async def test_a_client_that_registered_itself_gets_no_part() -> None:
    asking = call(await staff("a"), "a")
    registered = replace(member("r"), registered_by="t")
    for half in ({}, {"scope": ()}, {"resources": ()}, {"scope": (), "resources": (), "introspects": (ADMIN,)}):
        with pytest.raises(ConfigError):
            owners.check_credentials(asking, replace(registered, **half))
    owners.check_credentials(asking, replace(registered, scope=("r",), resources=()))
    owners.check_credentials(asking, member("a"))
