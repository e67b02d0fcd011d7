"""The promises about users of the console, on every store: a link is taken once, and sessions end when they must."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from tests.stores import NOW, at, nodes, opened, race, records, start

from affiant.storage.console import MAX_PASSKEYS, MAX_SESSIONS
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.ports import Cloned, Store, TooMany
from affiant.storage.records import AlreadyExists, NotFound, Passkey, Session, SignInLink, UsedChallenge, User

ALICE = User("alice", "operator", ("payments",), "handle", created_at=NOW)
LATER = NOW + 3600
_TAKE = """
import asyncio, sys
from tests.stores import NOW, at
from affiant.storage.records import NotFound, Session

async def main(place, name):
    store = at(place)
    await store.open()
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(20):
        session = Session(f"{name}{number}", "alice", NOW, NOW, NOW + 60, "", "")
        try:
            await store.sessions.begin_with_link(session, "link")
            print(session.id, flush=True)
        except NotFound:
            pass
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


def _session(name: str, username: str = "alice", *, at: int = NOW, until: int = LATER) -> Session:
    return Session(name, username, at, at, until, "192.0.2.1", "Firefox")


def _link(name: str = "link", username: str = "alice", *, at: int = NOW, until: int = LATER) -> SignInLink:
    return SignInLink(name, username, at, until)


def _passkey(name: str = "key", *, count: int = 0, username: str = "alice") -> Passkey:
    return Passkey(name, username, b"\x00cose\xff", count, "laptop", NOW)


def _challenge(name: str, until: int = LATER) -> UsedChallenge:
    return UsedChallenge(name, until)


def _audited(trace_id: str) -> Callable[[object, object], Sequence[Entry]]:
    return lambda before, after: [
        Entry(AuditRecord(1, trace_id, "console", "changed", detail=f"{before is None} {after is None}"))
    ]


async def _alice(store: Store, **changes: object) -> None:
    await store.users.add(replace(ALICE, **changes))  # type: ignore[arg-type]


async def _sign_in(store: Store, name: str, *, at: int = NOW, until: int = LATER) -> None:
    await store.sign_in_links.add(_link(f"for {name}", at=at))
    await store.sessions.begin_with_link(_session(name, at=at, until=until), f"for {name}")


async def _live(store: Store, username: str | None = None) -> list[str]:
    return [session.id for session in await store.sessions.list(username)]


async def test_all_comes_back_whole(make_store: Callable[..., Store]) -> None:
    async with nodes(make_store) as (one, other):
        await _alice(one)
        await one.passkeys.add(_passkey(), _challenge("c"))
        await one.sign_in_links.add(_link())
        assert await other.sign_in_links.find("link") == _link()
        await one.sessions.begin_with_link(_session("s"), "link")
        assert await other.users.find("alice") == ALICE
        assert await other.users.list() == [ALICE]
        assert await other.passkeys.list("alice") == [_passkey()]
        assert await other.passkeys.find("key") == _passkey()
        assert await other.sessions.find("s") == _session("s")
        assert await other.users.find("Alice") is None
        assert await other.sessions.find("s\0") is None
        assert await other.sessions.list("x\0") == []


async def test_no_process_reads_the_registry_again(store: Store) -> None:
    """Otherwise each page view would make every process load its clients."""
    before = await store.version()
    await _alice(store)
    await _sign_in(store, "s")
    await store.passkeys.add(_passkey(), _challenge("c"), audit=_audited("x"))
    await store.sessions.touch("s", NOW + 60)
    await store.sessions.end("s")
    await store.users.remove("alice", audit=_audited("y"))
    assert await store.version() == before
    assert [record["trace_id"] for record in await records(store)] == ["x", "y"]


async def test_one_of_many_takes_a_link(make_store: Callable[..., Store]) -> None:
    async with nodes(make_store) as stores:
        await _alice(stores[0])
        await stores[0].sign_in_links.add(_link())
        taking = [
            stores[number % 2].sessions.begin_with_link(_session(f"s{number}"), "link", audit=_audited(f"x{number}"))
            for number in range(20)
        ]
        taken = await asyncio.gather(*taking, return_exceptions=True)
        assert (taken.count(None), sum(isinstance(result, NotFound) for result in taken)) == (1, 19)
        winner = taken.index(None)
        assert await _live(stores[1]) == [f"s{winner}"]
        assert [record["trace_id"] for record in await records(stores[0])] == [f"x{winner}"]
        assert await stores[1].sign_in_links.find("link") is None


async def test_one_of_many_processes_takes_a_link(place: str) -> None:
    async with opened(at(place)) as store:
        await _alice(store)
        await store.sign_in_links.add(_link())
        said = await asyncio.to_thread(lambda: race({name: start(_TAKE, place, name) for name in "abc"}))
        assert sum(map(len, said.values())) == 1
        assert [line for lines in said.values() for line in lines] == await _live(store)


async def test_a_link_is_of_its_user_and_its_time(store: Store) -> None:
    await _alice(store)
    await store.users.add(replace(ALICE, name="bob"))
    await store.sign_in_links.add(_link(until=NOW + 10))
    for session in (_session("s", "bob"), _session("s", at=NOW + 10), _session("s", at=NOW + 11)):
        with pytest.raises(NotFound):
            await store.sessions.begin_with_link(session, "link")
    assert await _live(store) == []
    await store.sessions.begin_with_link(_session("s", at=NOW + 9), "link")


async def test_a_new_link_replaces_the_one_before(store: Store) -> None:
    await _alice(store)
    await store.users.add(replace(ALICE, name="bob"))
    await store.sign_in_links.add(_link("bob's", "bob"))
    for name in ("first", "second"):
        await store.sign_in_links.add(_link(name))
    with pytest.raises(NotFound):
        await store.sessions.begin_with_link(_session("s"), "first")
    await store.sessions.begin_with_link(_session("s"), "second")
    assert await store.sign_in_links.find("bob's") is not None
    await store.sign_in_links.add(_link("third", at=LATER, until=LATER + 1))
    assert await store.sign_in_links.find("bob's") is None, "the expired ones are forgotten"


async def test_a_disabled_user_loses_its_sessions_and_links(store: Store) -> None:
    await _alice(store)
    await _sign_in(store, "s")
    await store.passkeys.add(_passkey(), _challenge("c"))
    await store.sign_in_links.add(_link())
    await store.users.update("alice", lambda user: replace(user, enabled=False), audit=_audited("x"))
    assert await _live(store) == []
    for refused in (
        store.sessions.begin_with_link(_session("s"), "link"),
        store.sessions.begin_with_passkey(replace(_session("s"), passkey="key"), 1, _challenge("d")),
        store.sign_in_links.add(_link("l2")),
        store.passkeys.add(_passkey("key2"), _challenge("e")),
    ):
        with pytest.raises(NotFound):
            await refused
    await store.users.update("alice", lambda user: replace(user, enabled=True))
    assert (await _live(store), await store.sign_in_links.find("link")) == ([], None)
    assert await store.passkeys.list("alice") == [_passkey()]


async def test_a_removed_user_leaves_nothing(store: Store) -> None:
    await _alice(store)
    await store.users.add(replace(ALICE, name="bob"))
    await _sign_in(store, "s")
    await store.passkeys.add(_passkey(), _challenge("c"))
    await store.sign_in_links.add(_link())
    await store.sign_in_links.add(_link("bob's", "bob"))
    await store.users.remove("alice")
    await _alice(store)
    assert (await _live(store), await store.passkeys.list("alice")) == ([], [])
    assert await store.sign_in_links.find("link") is None
    assert await store.sign_in_links.find("bob's") is not None
    with pytest.raises(NotFound):
        await store.users.remove("nobody")


async def test_of_a_removal_and_a_sign_in_none_leaves_a_session(make_store: Callable[..., Store]) -> None:
    async with nodes(make_store) as (one, other):
        for number in range(5):
            await _alice(one)
            await one.sign_in_links.add(_link(f"l{number}"))
            await asyncio.gather(
                one.sessions.begin_with_link(_session(f"s{number}"), f"l{number}"),
                other.users.remove("alice"),
                return_exceptions=True,
            )
            assert await _live(one) == []


async def test_an_answer_to_a_challenge_counts_once(make_store: Callable[..., Store]) -> None:
    async with nodes(make_store) as stores:
        await _alice(stores[0])
        await stores[0].passkeys.add(_passkey(), _challenge("c"))
        signing = [
            stores[number % 2].sessions.begin_with_passkey(
                replace(_session(f"s{number}"), passkey="key"), 0, _challenge("d")
            )
            for number in range(10)
        ]
        done = await asyncio.gather(*signing, return_exceptions=True)
        assert (done.count(None), sum(isinstance(result, AlreadyExists) for result in done)) == (1, 9)
        assert len(await _live(stores[0])) == 1
        with pytest.raises(AlreadyExists):
            await stores[0].passkeys.add(_passkey("key2"), _challenge("d"))
        found = await stores[1].passkeys.find("key")
        assert found is not None
        assert found.last_used_at == NOW


async def test_an_expired_challenge_is_refused_and_forgotten(store: Store) -> None:
    await _alice(store)
    with pytest.raises(NotFound):
        await store.passkeys.add(_passkey(), _challenge("c", NOW))
    await store.passkeys.add(_passkey(), _challenge("c", NOW + 1))
    session = replace(_session("s", at=NOW + 2), passkey="key")
    await store.sessions.begin_with_passkey(session, 0, _challenge("d"))


async def test_a_sign_count_goes_only_up(make_store: Callable[..., Store]) -> None:
    async with nodes(make_store) as stores:
        await _alice(stores[0])
        await stores[0].passkeys.add(_passkey(count=5), _challenge("c"))

        async def sign(number: int, count: int) -> bool:
            session = replace(_session(f"s{number}"), passkey="key")
            try:
                await stores[number % 2].sessions.begin_with_passkey(session, count, _challenge(f"d{number}"))
            except Cloned:
                return False
            return True

        assert [await sign(0, 5), await sign(1, 0), await sign(2, 4)] == [False, False, False]
        assert sum(await asyncio.gather(*(sign(number, 6) for number in range(10, 20)))) == 1
        found = await stores[1].passkeys.find("key")
        assert found is not None
        assert found.sign_count == 6


async def test_a_session_ends_and_stays_ended(store: Store) -> None:
    await _alice(store)
    for name in ("a", "b", "c"):
        await _sign_in(store, name)
    await store.sessions.touch("a", NOW + 60)
    await store.sessions.touch("a", NOW + 30)
    found = await store.sessions.find("a")
    assert found is not None
    assert found.last_at == NOW + 60
    await store.sessions.end("a", "b", "nothing", audit=_audited("x"))
    await store.sessions.touch("a", NOW + 90)
    assert await _live(store) == ["c"]
    assert [record["detail"] for record in await records(store)] == ["False True", "False True"]


async def test_sessions_are_bounded(store: Store) -> None:
    """A new one ends those that are over, of all users, and beyond the limit the one that was used least recently."""
    await _alice(store)
    await store.users.add(replace(ALICE, name="bob"))
    await store.sign_in_links.add(_link("bob's", "bob"))
    await store.sessions.begin_with_link(_session("bob", "bob", until=NOW + 30), "bob's")
    for number in range(MAX_SESSIONS):
        await _sign_in(store, f"s{number}", at=NOW + number)
    assert len(await _live(store)) == MAX_SESSIONS + 1
    await store.sessions.touch("s0", NOW + 20)
    await _sign_in(store, "new", at=NOW + 40)
    assert sorted(await _live(store)) == sorted(["new", "s0", *(f"s{number}" for number in range(2, MAX_SESSIONS))])


async def test_a_removed_passkey_ends_its_sessions(store: Store) -> None:
    await _alice(store)
    await _sign_in(store, "by link")
    for name in ("key", "other"):
        await store.passkeys.add(_passkey(name), _challenge(name))
        session = replace(_session(f"by {name}"), passkey=name)
        await store.sessions.begin_with_passkey(session, 0, _challenge(f"sign {name}"))
    renamed = await store.passkeys.rename("key", "phone")
    assert (renamed.label, await store.passkeys.find("key")) == ("phone", renamed)
    await store.passkeys.remove("key", audit=_audited("x"))
    assert sorted(await _live(store, "alice")) == ["by link", "by other"]
    with pytest.raises(NotFound):
        await store.passkeys.remove("key")


async def test_passkeys_are_bounded(store: Store) -> None:
    await _alice(store)
    for number in range(MAX_PASSKEYS):
        await store.passkeys.add(_passkey(f"k{number}"), _challenge(f"c{number}"))
    with pytest.raises(TooMany):
        await store.passkeys.add(_passkey("more"), _challenge("more"))
    with pytest.raises(AlreadyExists):
        await store.passkeys.add(_passkey("k0"), _challenge("again"))
