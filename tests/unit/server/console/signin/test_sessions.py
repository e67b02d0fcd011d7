"""Sessions: who is found by a cookie, until when, and what of it the store knows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.users import rules
from affiant.server.console.origins import Origins
from affiant.server.console.signin import Sessions, Visitor
from affiant.server.keys.master_key import MasterKey
from affiant.storage.entries import AuditRecord, Entry
from affiant.storage.memory import MemoryStore
from affiant.storage.records import NotFound, SignInLink, User

NOW = 1_800_000_000
KEY = MasterKey.from_bytes(bytes(32))
ISSUER = "https://as.example"


def audit(before: Any, after: Any) -> Sequence[Entry]:
    return [Entry(AuditRecord(NOW, "x", "console", "created", detail=f"{before is None} {after is None}"))]


def scope(*cookies: str, agent: str = "Firefox") -> dict[str, Any]:
    headers = [(b"user-agent", agent.encode()), *((b"cookie", cookie.encode()) for cookie in cookies)]
    return {"type": "http", "headers": headers, "client": ("192.0.2.1", 1)}


class House:
    """A store with one user, and its sessions."""

    def __init__(self, issuer: str = ISSUER) -> None:
        self.store = MemoryStore()
        self.sessions = Sessions(self.store, KEY, Origins(issuer))

    async def open(self, **changes: Any) -> None:
        await self.store.users.add(replace(User("alice", "owner", created_at=NOW), **changes))

    async def link(self) -> SignInLink:
        link, _ = rules.make_link(KEY, "alice", now=NOW, seconds=900)
        await self.store.sign_in_links.add(link)
        return link

    async def sign_in(self, *cookies: str, now: float = NOW) -> str:
        made = await self.sessions.begin_with_link(await self.link(), scope(*cookies), now, audit)
        return made.decode().partition(";")[0]

    async def find(self, *cookies: str, now: float = NOW) -> Visitor | None:
        return await self.sessions.find(scope(*cookies), now)


@pytest.fixture
async def house() -> House:
    made = House()
    await made.open()
    return made


async def test_a_cookie_finds_its_user(house: House) -> None:
    await house.store.users.update("alice", lambda user: replace(user, role="operator", teams=("payments",)))
    cookie = await house.sign_in()
    visitor = await house.find(f"a=b; {cookie}", "c=d")
    assert visitor is not None
    assert (visitor.name, visitor.role, visitor.teams) == ("alice", Role.OPERATOR, frozenset({"payments"}))
    assert (visitor.principal.name, visitor.principal.is_client) == ("user:alice", False)
    assert visitor.csrf not in repr(visitor)


async def test_the_store_knows_digests_only(house: House) -> None:
    cookie = await house.sign_in()
    secret = cookie.partition("=")[2]
    (stored,) = await house.store.sessions.list()
    visitor = await house.find(cookie)
    assert visitor is not None
    assert secret not in repr(stored)
    assert visitor.csrf not in (secret, stored.id)
    assert visitor.session == stored.id
    assert (stored.address, stored.agent, stored.passkey) == ("192.0.2.1", "Firefox", None)


@pytest.mark.parametrize(
    ("issuer", "name", "is_secure"),
    [
        ("https://as.example", "__Host-affiant", True),
        ("https://as.example/tenant", "__Host-affiant", True),
        ("http://127.0.0.1:8377", "affiant-8377", False),
        ("http://localhost", "affiant-80", False),
    ],
)
async def test_attributes_of_the_cookie(issuer: str, name: str, *, is_secure: bool) -> None:
    house = House(issuer)
    await house.open()
    made = (await house.sessions.begin_with_link(await house.link(), scope(), NOW, audit)).decode()
    assert made.partition("=")[0] == name
    wanted = {"Path=/", "HttpOnly", "SameSite=Lax"} | ({"Secure"} if is_secure else set())
    assert set(made.split("; ")[1:]) == wanted, "no Domain, and no time: it goes with the browser"


async def test_no_other_cookie_finds_anyone(house: House) -> None:
    cookie = await house.sign_in()
    name, _, secret = cookie.partition("=")
    flipped = secret[:-2] + ("AA" if secret[-2:] != "AA" else "BB")
    (stored,) = await house.store.sessions.list()
    for wrong in (
        (),
        ("",),
        (f"{name}=",),
        (f"{name}={flipped}",),
        (f"{name}={stored.id}",),
        (f"{name}={secret}x",),
        (f"affiant={secret}",),
        (cookie, cookie),
        (f"{cookie}; {name}=x",),
        (f"{name}=\xff" * 50,),
        (";" * 5000,),
    ):
        assert await house.find(*wrong) is None, wrong
    assert (
        await Sessions(house.store, MasterKey.from_bytes(b"\1" * 32), Origins(ISSUER)).find(scope(cookie), NOW) is None
    )


async def test_a_session_ends_when_it_is_idle_and_when_it_is_old(house: House) -> None:
    cookie = await house.sign_in()
    assert await house.find(cookie, now=NOW + rules.IDLE_SECONDS - 1) is not None
    cookie, now = await house.sign_in(), NOW
    while await house.find(cookie, now=now) is not None:
        now += rules.IDLE_SECONDS - 1
    assert now - (rules.IDLE_SECONDS - 1) < NOW + rules.LONGEST_SECONDS <= now
    idle = await house.sign_in()
    assert await house.find(idle, now=NOW + rules.IDLE_SECONDS) is None
    assert await house.find(idle, now=NOW - rules.NOTED_SECONDS - 1) is None, "the clock was set back"


async def test_a_page_view_is_rarely_a_write(house: House) -> None:
    cookie = await house.sign_in()
    noted = set()
    for second in range(0, 900, 10):
        assert await house.find(cookie, now=NOW + second) is not None
        noted.add((await house.store.sessions.list())[0].last_at)
    assert noted == {NOW, NOW + 300, NOW + 600}


async def test_a_user_who_is_taken_away_is_gone_at_once(house: House) -> None:
    cookie = await house.sign_in()
    await house.store.users.update("alice", lambda user: replace(user, role="viewer"))
    visitor = await house.find(cookie)
    assert visitor is not None
    assert visitor.role is Role.VIEWER
    await house.store.users.update("alice", lambda user: replace(user, enabled=False))
    assert await house.find(cookie) is None
    await house.store.users.update("alice", lambda user: replace(user, enabled=True))
    assert await house.find(cookie) is None


async def test_each_sign_in_is_a_new_session_and_ends_the_one_before(house: House) -> None:
    """Session fixation: a cookie that an attacker planted is worth nothing after the sign-in."""
    name = (await house.sign_in()).partition("=")[0]
    planted = f"{name}={'A' * 43}"
    first = await house.sign_in(planted)
    assert first != planted
    assert await house.find(planted) is None
    second = await house.sign_in(first)
    assert second != first
    assert (await house.find(first), (await house.find(second)) is not None) == (None, True)


async def test_sign_out_ends_it_in_the_store(house: House) -> None:
    await house.store.users.add(User("bob", "viewer"))
    cookie = await house.sign_in()
    removed = (await house.sessions.end(scope(cookie), NOW, audit)).decode()
    assert removed.startswith("__Host-affiant=; ")
    assert "Max-Age=0" in removed
    assert await house.find(cookie) is None
    assert await house.store.sessions.list() == []
    await house.sessions.end(scope(), NOW, audit)


async def test_a_link_begins_one_session(house: House) -> None:
    link = await house.link()
    await house.sessions.begin_with_link(link, scope(), NOW, audit)
    with pytest.raises(NotFound):
        await house.sessions.begin_with_link(link, scope(), NOW, audit)


async def test_csrf_tokens_are_compared(house: House) -> None:
    visitor = await house.find(await house.sign_in())
    other = await house.find(await house.sign_in())
    assert visitor is not None
    assert other is not None
    visitor.check_csrf(visitor.csrf)
    for wrong in (None, "", "\xff", "\ud800", visitor.csrf[:-1], other.csrf, visitor.session):
        with pytest.raises(Rejected) as caught:
            visitor.check_csrf(wrong)
        assert caught.value.reason is Reason.ADMIN_CSRF
        assert visitor.csrf not in str(caught.value)


@pytest.mark.parametrize(
    ("issuer", "right", "own"),
    [
        ("https://as.example", ["https://as.example"], "https://as.example"),
        ("https://as.example:8443/a", ["https://as.example:8443"], "https://as.example:8443"),
        (
            "http://127.0.0.1:8377",
            ["http://127.0.0.1:8377", "http://localhost:8377", "http://[::1]:8377"],
            "http://127.0.0.1:8377",
        ),
    ],
)
def test_origins(issuer: str, right: list[str], own: str) -> None:
    origins = Origins(issuer)
    assert (sorted(origins.all), origins.own) == (sorted(right), own)
    for one in right:
        origins.check({"headers": [(b"origin", one.encode())]})
    wrong: list[list[bytes]] = [
        [],
        [b"null"],
        [b""],
        [b"https://evil.example"],
        [right[0].encode() + b"/"],
        [right[0].encode() + b".evil.example"],
        [right[0].upper().encode()],
        [right[0].encode(), right[0].encode()],
        [right[0].replace("http", "ws").encode()],
    ]
    for values in wrong:
        with pytest.raises(Rejected) as caught:
            origins.check({"headers": [(b"origin", value) for value in values]})
        assert caught.value.reason is Reason.ADMIN_CSRF
