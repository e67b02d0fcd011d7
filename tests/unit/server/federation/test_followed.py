"""Two servers of our own: what is revoked at the first ends what the second gave for its tokens."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest
from tests.rfc.conftest import refusal

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.oauth import names, revocations
from affiant.server import app
from affiant.server.registry.federation import followed
from affiant.server.registry.key_cache import Fetched
from affiant.server.settings.options import Options
from affiant.server.token.active import is_revoked
from affiant.storage.entries import LONGEST_TOKEN, AuditRecord, Entry, Revocation
from affiant.storage.records import ClaimCondition, Rule, Trust
from affiant.system.identifiers import new_trace_id
from affiant.telemetry import Telemetry
from affiant.testing import Server

FIRST, SECOND = "https://as.first.example", "https://as.second.example"
API = "https://orders.example"
TRUST = Trust("first", FIRST, "affiant", replay="reused")
RULE = Rule("billing", "first", "partner", (ClaimCondition("client_id", ("billing",)),))


class Pair:
    """Both servers; the second fetches from the first, as long as `is_away` is not set."""

    first: Server
    second: Server
    is_away = False
    failure: Exception
    bodies: dict[str, bytes]

    def __init__(self) -> None:
        self.bodies = {}
        self.fetched: list[str] = []

    async def fetch(self, uri: str, *, ca: str | None = None) -> Fetched:
        assert ca is None
        self.fetched.append(uri)
        if self.is_away:
            raise self.failure
        reply = await self.first.http.get(uri)
        assert reply.status_code == 200
        return Fetched(self.bodies.get(uri, reply.content), None)

    async def from_first(self) -> str:
        token: str = (await self.first.token("billing"))["access_token"]
        return token

    async def chain(self, token: str) -> httpx2.Response:
        form = {"grant_type": names.JWT_BEARER, "assertion": token, "resource": API}
        return await self.second.http.post("/token", data=form)

    async def revoke(self, kind: str, value: str) -> None:
        """Revoke at the first server, until its feed says so."""
        before = (await self.first.http.get("/revocations")).headers["etag"]
        now = int(self.first.clock())
        record = AuditRecord(at=now, trace_id=new_trace_id(), endpoint="test", outcome="revoked")
        ended = Revocation(kind, value, now, now + LONGEST_TOKEN)
        await self.first.store.ledger.claim(Entry(record, revocations=(ended,)))
        while (await self.first.http.get("/revocations")).headers["etag"] == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def pass_seconds(self, seconds: int) -> None:
        for server in (self.first, self.second):
            server.clock.now += seconds

    async def look(self) -> None:
        """Let the second server read the feed again: it does so for a token, once its copy is some seconds old."""
        self.pass_seconds(10)
        await self.chain(await self.from_first())

    async def is_dead(self, token: str) -> bool:
        """Whether the store says so; the feed that guards have must say the same."""
        claims = compact.parse(token).claims
        is_dead = await is_revoked(claims, self.second.store.revocations)
        for _ in range(200):  # an edition of the feed is used for some milliseconds
            reply = await self.second.http.get("/revocations")
            verified = compact.verify(compact.parse(reply.text), (await self.second.signing_key()).public())
            feed = revocations.verify(verified, issuer=SECOND, now=self.second.clock.now)
            if feed.revokes(claims) == is_dead:
                return is_dead
            await asyncio.sleep(0.01)
        raise AssertionError("the feed and the store differ")

    async def reason(self, reply: httpx2.Response) -> str:
        assert refusal(reply) == (400, "invalid_grant")
        return str(reply.json()["error_uri"]).rpartition("/")[2]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    async with (
        Server.in_process(issuer=FIRST) as made.first,
        Server.in_process(issuer=SECOND, fetch=made.fetch) as made.second,
    ):
        await made.first.add_api(SECOND, name="second", access_token_typ="JWT")
        await made.first.add_client("billing", resources=(SECOND,))
        await made.second.add_api(API, scope=("read",))
        await made.second.add_client("partner", resources=(API,), scope=("read",))
        await made.second.store.trusts.add(TRUST)
        await made.second.store.rules.add(RULE)
        yield made


async def test_token_of_another_server(pair: Pair) -> None:
    """It speaks for the client of the rule; of its claims, only digests travel."""
    reply = await pair.chain(await pair.from_first())
    assert reply.status_code == 200, reply.text
    claims = compact.parse(reply.json()["access_token"]).claims
    assert (claims["iss"], claims["sub"], claims["scope"]) == (SECOND, "partner", "read")
    (parent,) = claims["parents"]
    assert set(parent) == {"iss", "names"}
    assert parent["iss"] == FIRST
    assert "billing" not in str(parent)


@pytest.mark.parametrize("kind", ["jti", "client", "key", "api", "all"])
async def test_revoked_there_ends_here(pair: Pair, kind: str) -> None:
    """By whatever the token is named there."""
    token = await pair.from_first()
    given = (await pair.chain(token)).json()["access_token"]
    claims = compact.parse(token).claims
    assert not await pair.is_dead(given)
    key = revocations.of_key("billing", claims["client_key"]) or ""
    await pair.revoke(kind, {"jti": claims["jti"], "client": "billing", "key": key, "api": SECOND, "all": ""}[kind])
    await pair.look()
    assert await pair.is_dead(given)
    assert await pair.reason(await pair.chain(token)) == "trust.revoked"


async def test_revoked_before_it_is_shown(pair: Pair) -> None:
    """The second server looks before it takes a token, if its copy of the feed is some seconds old."""
    token = await pair.from_first()
    await pair.revoke("jti", compact.parse(token).claims["jti"])
    pair.pass_seconds(10)
    assert await pair.reason(await pair.chain(token)) == "trust.revoked"


async def test_names_of_the_other_server_are_not_ours(pair: Pair) -> None:
    """Attack: the first server, which may name one client, revokes tokens of the second one's other clients."""
    own = (await pair.second.token("partner", resource=API))["access_token"]
    given = (await pair.chain(await pair.from_first())).json()["access_token"]
    for kind, value in (("client", "partner"), ("jti", compact.parse(own).claims["jti"]), ("api", API)):
        await pair.revoke(kind, value)
    await pair.look()
    assert not await pair.is_dead(own)
    assert not await pair.is_dead(given)
    await pair.revoke("all", "")
    await pair.look()
    assert not await pair.is_dead(own)
    assert await pair.is_dead(given)


async def test_client_that_is_enabled_again(pair: Pair) -> None:
    """Tokens from after the revocation are good."""
    await pair.revoke("client", "billing")
    pair.pass_seconds(10)
    given = await pair.chain(await pair.from_first())
    assert given.status_code == 200, given.text
    await pair.look()
    assert not await pair.is_dead(given.json()["access_token"])


@pytest.mark.parametrize("failure", [Rejected(Reason.JWKS_TIMEOUT), RuntimeError("not foreseen")], ids=repr)
async def test_first_server_that_is_away(pair: Pair, failure: Exception) -> None:
    """No token of it is taken, and other clients wait for nothing. What was given stays."""
    token = await pair.from_first()
    given = (await pair.chain(token)).json()["access_token"]
    pair.is_away, pair.failure = True, failure
    pair.pass_seconds(10)
    assert await pair.reason(await pair.chain(token)) == "trust.feed_unavailable"
    assert (await pair.second.token("partner", resource=API))["access_token"]
    assert not await pair.is_dead(given)
    pair.is_away = False
    pair.pass_seconds(10)
    assert (await pair.chain(token)).status_code == 200


async def test_old_feed_takes_nothing_back(pair: Pair) -> None:
    """Attack: an answer from before the revocation is replayed, for as long as it is valid."""
    token = await pair.from_first()
    given = (await pair.chain(token)).json()["access_token"]
    old = (await pair.first.http.get("/revocations")).content
    await pair.revoke("client", "billing")
    await pair.look()
    pair.bodies[f"{FIRST}/revocations"] = old
    await pair.look()
    assert await pair.is_dead(given)
    assert await pair.reason(await pair.chain(token)) == "trust.revoked"


async def test_feed_of_another_server(pair: Pair) -> None:
    """Attack: a feed without the revocation, which another server signed."""
    async with Server.in_process(issuer=FIRST) as other:
        pair.bodies[f"{FIRST}/revocations"] = (await other.http.get("/revocations")).content
    pair.pass_seconds(10)
    reply = await pair.chain(await pair.from_first())
    assert await pair.reason(reply) == "trust.feed_unavailable"


async def test_server_that_revokes_without_end(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: it would fill the feed of the second server, until no guard reads that any more."""
    monkeypatch.setattr(followed, "MOST_A_DAY", 2)
    for number in range(3):
        await pair.revoke("jti", f"made-up-{number}")
        pair.pass_seconds(10)
        await pair.chain(await pair.from_first())
    kept = [row for row in await pair.second.store.revocations.list(0) if row.kind == revocations.FOREIGN]
    assert len(kept) == 2
    assert await pair.reason(await pair.chain(await pair.from_first())) == "trust.feed_unavailable"
    assert (await pair.second.token("partner", resource=API))["access_token"]


async def test_server_without_a_feed(pair: Pair) -> None:
    document = (await pair.first.http.get(names.WELL_KNOWN_OPENID)).json()
    del document["revocations_uri"]
    for suffix in (names.WELL_KNOWN_OPENID, names.WELL_KNOWN_OAUTH):
        pair.bodies[FIRST + suffix] = json.dumps(document).encode()
    pair.pass_seconds(400)
    reply = await pair.chain(await pair.from_first())
    assert await pair.reason(reply) == "trust.feed_unavailable"


async def test_each_revocation_is_kept_once(pair: Pair) -> None:
    """However often the feed is read; a trust of another kind is not followed."""
    await pair.revoke("client", "billing")
    await pair.revoke("jti", "one")
    for _ in range(3):
        await pair.look()
    kept = [row for row in await pair.second.store.revocations.list(0) if row.kind == revocations.FOREIGN]
    assert len(kept) == 2
    records = [json.loads(row.record) for row in await pair.second.store.audit_log.export()]
    assert [record["detail"] for record in records if record["endpoint"] == "feed"] == ["2 revocations of its feed"]
    await pair.second.store.trusts.update("first", lambda trust: replace(trust, preset="generic"))
    pair.fetched.clear()
    await pair.look()
    assert f"{FIRST}/revocations" not in pair.fetched


async def test_age_and_failure_of_the_feed_are_metrics(pair: Pair) -> None:
    second, telemetry = pair.second, Telemetry()
    built = app.build(
        issuer=SECOND,
        store=second.store,
        master_key=second.master_key,
        options=Options(fresh_seconds=0.0),
        clock=second.clock,
        fetch=pair.fetch,
        telemetry=telemetry,
    )

    def feed() -> list[object]:
        found = telemetry.samples()
        return [found[f"affiant_followed_feed_{name}"] for name in ("age_seconds", "failing")]

    assert feed() == [{}, {}]
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=built), base_url=SECOND) as second.http:
        assert (await pair.chain(await pair.from_first())).status_code == 200
        assert feed() == [{("first",): 0}, {("first",): 0}]
        pair.is_away, pair.failure = True, Rejected(Reason.JWKS_TIMEOUT)
        pair.pass_seconds(10)
        await pair.chain(await pair.from_first())
        assert feed() == [{("first",): 10}, {("first",): 1}]
