"""A commit that rests on another token: it fails if that one was revoked before, on every store; raced."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.stores import NOW, claim

from affiant.jose import compact
from affiant.oauth import names
from affiant.oauth.revocations import Feed, digest
from affiant.storage.entries import AuditRecord, Entry, JtiClaim, Outcome, Revocation, Unrevoked
from affiant.storage.ports import Store
from affiant.testing import Server

API, NEXT = "https://api.example", "https://next.example"
GRANTS = (names.CLIENT_CREDENTIALS, names.TOKEN_EXCHANGE)
RACES, SOAK_RACES = 20, 1000
CHILDREN, REVOKE_SECONDS = 10_000, 0.05


def _audit(trace_id: str = "t", outcome: Any = "issued") -> AuditRecord:
    return AuditRecord(at=NOW, trace_id=trace_id, endpoint="token", outcome=outcome)


def _revoke(jti: str, kind: str = "jti", at: int = NOW) -> Entry:
    return Entry(_audit(f"revoke {jti}", "revoked"), revocations=(Revocation(kind, jti, at, NOW + 600),))


def _exchange(jti: str, *, since: float = 0.0, kind: str = "jti") -> Entry:
    return Entry(_audit(f"exchange {jti}"), unless_revoked=(Unrevoked("all", "", 0.0), Unrevoked(kind, jti, since)))


async def test_a_revoked_token_is_not_exchanged(store: Store) -> None:
    assert await store.ledger.claim(_exchange("a")) is Outcome.FIRST
    await store.ledger.claim(_revoke("a"))
    assert await store.ledger.claim(_exchange("b")) is Outcome.FIRST
    refused = Entry(
        _audit("second"), unless_revoked=_exchange("a").unless_revoked, revocations=_revoke("b").revocations
    )
    assert await store.ledger.claim(refused) is Outcome.SUBJECT_REVOKED
    assert [row.value for row in await store.revocations.list(NOW)] == ["a"]
    record = await store.audit_log.find("second")
    assert record is not None
    assert (record["outcome"], record["reason"]) == ("refused", "exchange.subject_revoked")


async def test_a_revocation_from_before_the_token_ends_nothing(store: Store) -> None:
    await store.ledger.claim(_revoke("c", "client"))
    assert await store.ledger.claim(_exchange("c", kind="client", since=NOW + 1)) is Outcome.FIRST
    assert await store.ledger.claim(_exchange("c", kind="client", since=NOW)) is Outcome.SUBJECT_REVOKED


async def test_both_jtis_are_claimed(store: Store) -> None:
    """That of the client's assertion, and that of a subject token that its trust takes once."""

    def entry(number: int, subject: int) -> Entry:
        return Entry(_audit(), claim=claim(number), subject_claim=claim(subject, client_id="trust ci"))

    assert await store.ledger.claim(entry(1, 1)) is Outcome.FIRST
    assert await store.ledger.claim(entry(1, 2)) is Outcome.REPLAYED
    assert await store.ledger.claim(entry(2, 1)) is Outcome.SUBJECT_REPLAYED
    assert await store.ledger.claim(entry(3, 3)) is Outcome.FIRST
    same = JtiClaim("trust ci", b"x" * 32, NOW + 60)
    assert await store.ledger.claim(Entry(_audit(), claim=same, subject_claim=same)) is Outcome.SUBJECT_REPLAYED
    outcomes = await asyncio.gather(*(store.ledger.claim(entry(number, 9)) for number in range(10, 30)))
    assert sorted(one.name for one in outcomes) == ["FIRST"] + ["SUBJECT_REPLAYED"] * 19


async def test_a_thousand_commits_against_revocations(store: Store) -> None:
    """A token that was revoked first is not exchanged; an exchange that came first precedes the revocation in the log."""
    jtis = [f"j{number}" for number in range(1000)]
    pairs = [pair if number % 2 else pair[::-1] for number, pair in enumerate((_exchange(j), _revoke(j)) for j in jtis)]
    outcomes = dict(
        zip(
            [entry.audit.trace_id for pair in pairs for entry in pair],
            await asyncio.gather(*(store.ledger.claim(entry) for pair in pairs for entry in pair)),
            strict=True,
        )
    )
    numbers = {row.trace_id: row.number for row in await store.audit_log.export(limit=3000)}
    for jti in jtis:
        is_before = numbers[f"exchange {jti}"] < numbers[f"revoke {jti}"]
        assert outcomes[f"exchange {jti}"] is (Outcome.FIRST if is_before else Outcome.SUBJECT_REVOKED)
    assert Outcome.FIRST in outcomes.values()


@asynccontextmanager
async def _chain(store: Store) -> AsyncIterator[Server]:
    """A client, and an API that exchanges its tokens to call the next one."""
    async with Server.in_process(store=store) as server:
        await server.add_api(API, scope=("read",), is_default=True)
        await server.add_api(NEXT, name="next", scope=("read",))
        for client_id, more in (("shop", ()), ("api", (API,))):
            await server.add_client(client_id, resources=(API, NEXT), introspects=more, grant_types=GRANTS)
        yield server


def _form(server: Server, token: str) -> dict[str, Any]:
    return server.form(
        server.assertion("api"), grant_type=names.TOKEN_EXCHANGE, subject_token=token, resource=NEXT,
        subject_token_type=names.ACCESS_TOKEN_TOKEN_TYPE,
    )  # fmt: skip


async def _race(server: Server, number: int) -> dict[str, Any] | None:
    """Exchange a token and revoke it at once; return the claims of the new token, if there is one."""
    server.clock.advance(0.01)
    token = (await server.token("shop"))["access_token"]
    exchange = _form(server, token)
    revoke = server.form(server.assertion("shop"), token=token)
    calls = [server.post(exchange), server.post(revoke, path="/revoke")]
    replies = await asyncio.gather(*(calls if number % 2 else calls[::-1]))
    answers = [reply.json() for reply in replies if reply.status_code == 200]
    refused = [reply.json()["error_uri"] for reply in replies if reply.status_code != 200]
    assert all(uri.endswith("/exchange.subject_revoked") for uri in refused), refused
    return next((compact.parse(one["access_token"]).claims for one in answers if "access_token" in one), None)


@pytest.mark.attack(327)
@pytest.mark.parametrize("races", [RACES, pytest.param(SOAK_RACES, marks=pytest.mark.soak)])
async def test_no_child_survives(store: Store, races: int) -> None:
    """Each exchange that races with the revocation is refused, or its token is in the feed."""
    async with _chain(store) as server:
        found: list[dict[str, Any] | None] = []
        for start in range(0, races, RACES):  # at most as many requests as a node may have waiting
            found += await asyncio.gather(*(_race(server, start + number) for number in range(RACES)))
        rows = await server.store.revocations.list(0)
        feed = Feed(0, 0, whole=frozenset(digest(row.kind, row.value) for row in rows))
        children = [claims for claims in found if claims is not None]
        assert children, "no exchange was first: the race shows nothing"
        assert all(feed.revokes(claims) for claims in children)


@pytest.mark.soak
async def test_ten_thousand_children_end_with_one_entry(store: Store) -> None:
    async with _chain(store) as server:
        token = (await server.token("shop"))["access_token"]
        children: list[dict[str, Any]] = []
        for _ in range(0, CHILDREN, RACES):
            replies = await asyncio.gather(*(server.post(_form(server, token)) for _ in range(RACES)))
            children += [compact.parse(reply.json()["access_token"]).claims for reply in replies]
        form, began = server.form(server.assertion("shop"), token=token), time.perf_counter()
        assert (await server.post(form, path="/revoke")).status_code == 200
        seconds = time.perf_counter() - began
        rows = await store.revocations.list(0)
        feed = Feed(0, 0, whole=frozenset(digest(row.kind, row.value) for row in rows))
        assert (len(rows), len(children)) == (1, CHILDREN)
        assert all(feed.revokes(claims) for claims in children)
        assert seconds < REVOKE_SECONDS
