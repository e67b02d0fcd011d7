import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import keys
from affiant.jose.keys import PublicKey
from affiant.oauth.assertion import Rules
from affiant.server.registry import key_cache
from affiant.server.registry.credentials import keys as client_keys
from affiant.server.registry.credentials.keys import ClientKeys
from affiant.server.registry.directory import RegisteredClient
from affiant.server.registry.key_cache import MAX_WAITING, Fetched, Wanted
from affiant.server.registry.remote_keys import RemoteKeys
from affiant.storage.records import Client

NOW, URI = 1_800_000_000.0, "https://keys.example/jwks"
OLD, NEW = (keys.generate("ES256").public() for _ in range(2))


@dataclass
class Publisher:
    """What stands at the jwks_uri, and how often it was fetched; `gate` holds the answers back while it is not set."""

    members: list[Any] = field(default_factory=lambda: [OLD.to_jwk()])
    max_age: int | None = None
    problem: Rejected | None = None
    body: bytes | None = None
    fetched: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, uri: str, *, ca: str | None = None) -> Fetched:
        self.fetched.append(uri)
        await self.gate.wait()
        if self.problem is not None:
            raise self.problem
        return Fetched(json.dumps({"keys": self.members}).encode() if self.body is None else self.body, self.max_age)

    def fail(self) -> None:
        self.problem = Rejected(Reason.JWKS_UNAVAILABLE, detail="gone")


@dataclass
class Place:
    publisher: Publisher
    remote: RemoteKeys
    client: RegisteredClient
    now: float = NOW

    async def complete(self, key: PublicKey | str = OLD) -> RegisteredClient:
        kid = key if isinstance(key, str) else key.kid
        return await self.remote.complete(self.client, Wanted(kid, lambda known: known.kid == kid), now=self.now)

    async def usable(self, key: PublicKey | str = OLD) -> list[str]:
        return [known.kid for known in (await self.complete(key)).keys.usable(self.now)]

    async def refused(self, key: PublicKey | str = OLD) -> Reason:
        with pytest.raises(Rejected) as caught:
            await self.complete(key)
        return caught.value.reason

    async def settle(self) -> None:
        """Let what goes on in the background come to its end."""
        while tasks := self.remote._cache._flights._tasks.values():
            await asyncio.wait(tasks)

    @property
    def fetches(self) -> int:
        return len(self.publisher.fetched)


def client(client_id: str = "c1", uri: str | None = URI, **more: Any) -> RegisteredClient:
    record = Client(client_id, "private_key_jwt", jwks_uri=uri, **more)
    return RegisteredClient(record, ClientKeys(()), (), Rules(issuer="https://as.example", token_endpoint="x"))


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    publisher = Publisher()
    publisher.gate.set()
    remote = RemoteKeys(publisher)
    yield Place(publisher, remote, client())
    await remote.close()


async def test_nothing_is_fetched_for_who_has_no_jwks_uri(place: Place) -> None:
    place.client = client(uri=None)
    assert await place.complete() is place.client
    assert place.fetches == 0


async def test_new_key_is_found_in_a_flood(place: Place) -> None:
    await place.complete()
    place.publisher.members.append(NEW.to_jwk())
    found = []
    for second in range(60):
        place.now = NOW + second
        await place.complete(f"unknown{second}")
        found.append(NEW.kid in await place.usable(NEW))
    assert found.index(True) <= 31


async def test_absent_kid_does_not_keep_a_new_one_out(place: Place) -> None:
    await place.complete()
    await place.complete("absent")
    place.now += 31
    await place.complete("absent")
    assert place.fetches == 2
    place.publisher.members.append(NEW.to_jwk())
    assert NEW.kid in await place.usable(NEW)
    assert place.fetches == 3


async def test_absent_kid_is_looked_for_again_after_a_minute(place: Place) -> None:
    await place.complete()
    await place.complete(NEW)
    place.publisher.members.append(NEW.to_jwk())
    place.now += 61
    assert NEW.kid in await place.usable(NEW)


async def test_many_wait_for_one_flight(place: Place) -> None:
    place.publisher.gate.clear()
    waiting = [asyncio.create_task(place.usable()) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    assert await place.refused() is Reason.JWKS_UNAVAILABLE  # one too many does not wait
    waiting[0].cancel()  # who goes away takes nothing from the others
    place.publisher.gate.set()
    assert await asyncio.gather(*waiting[1:]) == [[OLD.kid]] * (MAX_WAITING - 1)
    assert place.fetches == 1


async def test_refresh_goes_on_behind(place: Place) -> None:
    await place.complete()
    place.publisher.members = [NEW.to_jwk()]
    place.publisher.gate.clear()
    place.now += 250
    assert await place.usable() == [OLD.kid]
    await asyncio.sleep(0)
    assert place.fetches == 2
    place.publisher.gate.set()
    await place.settle()
    assert await place.usable(NEW) == [NEW.kid]
    assert place.fetches == 2


async def test_key_that_was_taken_away_ends_with_the_set(place: Place) -> None:
    """After its time nobody is let in by what may be gone: the request waits for the fetch."""
    await place.complete()
    place.publisher.members = [NEW.to_jwk()]
    place.now += 301
    assert await place.usable() == [NEW.kid]


@pytest.mark.parametrize(("max_age", "kept"), [(None, 300), (0, 5), (5, 5), (60, 60), (600, 600), (10**9, 3600)])
async def test_how_long_a_set_is_kept(place: Place, max_age: int | None, kept: int) -> None:
    place.publisher.max_age = max_age
    await place.complete()
    place.now = NOW + kept * 0.79
    await place.complete()
    assert place.fetches == 1
    place.now = NOW + kept * 0.81
    await place.complete()
    await place.settle()
    assert place.fetches == 2


@pytest.mark.attack(222)
async def test_outage_after_a_good_fetch(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    await place.complete()
    place.publisher.fail()
    place.now += 3600
    with caplog.at_level(logging.WARNING):
        found = await place.complete()
    assert found.observed == (Reason.JWKS_STALE,)
    assert [key.kid for key in found.keys.usable(place.now)] == [OLD.kid]
    assert "keys of client c1 cannot be fetched" in caplog.text
    place.now = NOW + 86_399
    assert await place.usable() == [OLD.kid]
    await place.settle()
    place.now = NOW + 86_400
    assert await place.refused() is Reason.JWKS_STALE


async def test_outage_is_waited_for_once(place: Place) -> None:
    await place.complete()
    place.publisher.fail()
    place.now += 3600
    await place.complete()
    place.publisher.gate.clear()
    for _ in range(10):
        place.now += 21
        assert await asyncio.wait_for(place.usable(), 1) == [OLD.kid]
    assert place.fetches == 3  # the one that hangs is the last


async def test_recovery_within_half_a_minute(place: Place) -> None:
    await place.complete()
    place.publisher.fail()
    place.now += 3600
    await place.complete()
    place.publisher.problem, place.publisher.members = None, [NEW.to_jwk()]
    seconds = 0
    while NEW.kid not in await place.usable():
        seconds += 1
        place.now += 1
        await place.settle()
    assert seconds <= 30
    assert (await place.complete(NEW)).observed == ()


@pytest.mark.attack(222)
async def test_outage_at_first_use(place: Place) -> None:
    place.publisher.fail()
    for _ in range(100):
        assert await place.refused() is Reason.JWKS_UNAVAILABLE
    assert place.fetches == 1
    place.publisher.problem = None
    place.now += 21
    assert await place.usable() == [OLD.kid]


async def test_unknown_kid_in_an_outage_says_so(place: Place) -> None:
    await place.complete()
    place.publisher.fail()
    assert await place.refused(NEW) is Reason.JWKS_UNAVAILABLE
    assert await place.usable() == [OLD.kid]
    assert (await place.complete()).observed == ()  # what is fresh is not old


async def test_failures_are_few_too(place: Place) -> None:
    place.publisher.fail()
    for second in range(300):
        place.now = NOW + second
        await place.refused()
    assert place.fetches <= 20


async def test_what_is_left_out_is_told_with_the_age_of_the_copy(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.publisher.members = [{"kty": "?", "kid": "e"}, {**NEW.to_jwk(), "d": "AA", "kid": "p"}, OLD.to_jwk()]
    found = await place.complete()
    told = place.remote.describe(found, now=NOW + 42)
    assert told.startswith('its key set was fetched 42 s ago; left out: key 1 ("e") of the JWK Set: kty must be')
    assert 'key 2 ("p") of the JWK Set: the key has private members' in told
    assert "client c1 publishes a private key in its key set" in caplog.text


@pytest.mark.attack(220)
async def test_bad_signatures_are_looked_up_within_the_same_budget(place: Place) -> None:
    """A key may change under its kid. Neither such a flood nor one of unknown kids makes more than two fetches in 30 s."""
    other = Wanted("not the known one", lambda known: known.kid == OLD.kid and known.thumbprint != OLD.thumbprint)
    times = []
    for number in range(2000):
        place.now = NOW + number / 20
        before = place.fetches
        found = await place.complete(f"unknown{number}")
        assert await place.remote.look_again(found, other, now=place.now) is None
        times += [place.now] * (place.fetches - before)
    assert 2 <= len(times) <= 6
    assert all(later - first > 30 for first, later in zip(times, times[2:], strict=False))


async def test_a_key_that_changed_under_its_kid_is_found(place: Place) -> None:
    other = Wanted("not the known one", lambda known: known.kid == OLD.kid and known.thumbprint != OLD.thumbprint)
    found = await place.complete()
    place.publisher.members = [{**NEW.to_jwk(), "kid": OLD.kid}]
    assert await place.remote.look_again(found, other, now=NOW) is None, "the set was fetched for this very request"
    again = await place.remote.look_again(found, other, now=NOW + 1)
    assert again is not None
    assert [key.thumbprint for key in again.keys.usable(NOW + 1)] == [NEW.thumbprint]
    place.publisher.fail()
    assert await place.remote.look_again(again, other, now=NOW + 2) is not None
    assert place.fetches == 2


async def test_a_set_that_may_not_be_kept_is_fetched_every_few_seconds(place: Place) -> None:
    """The floor bounds what a busy client costs; fetches for a kid that is lacking have a budget of their own."""
    place.publisher.max_age = 0
    for tick in range(600):
        place.now = NOW + tick / 10
        await place.complete()
        await place.settle()
    assert 12 <= place.fetches <= 16
    place.publisher.members.append(NEW.to_jwk())
    assert NEW.kid in await place.usable(NEW)


async def test_key_without_kid_has_its_thumbprint(place: Place) -> None:
    place.publisher.members = [{name: value for name, value in OLD.to_jwk().items() if name != "kid"}]
    assert await place.usable(OLD.thumbprint) == [OLD.thumbprint]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>",
        b'{"keys":null}',
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":[{}]}',
        b'{"keys":[],"keys":[]}',
        b"\xef\xbb\xbf{}",
        b"\xff",
        b'{"keys":[' + b"[" * 20_000 + b"]" * 20_000 + b"]}",
        b'{"keys":[' + b",".join([b"{}"] * 65) + b"]}",
        b'{"keys":' + b"1" * 60_000 + b"}",
        b'{"keys":NaN}',
    ],
    ids=lambda body: repr(body[:20]),
)
async def test_what_is_no_set_changes_nothing(place: Place, body: bytes) -> None:
    place.publisher.body = body
    assert await place.refused() is Reason.JWKS_MALFORMED
    place.publisher.body = None
    place.now += 31
    assert await place.usable() == [OLD.kid]
    place.publisher.body = body
    place.now += 400
    assert await place.usable() == [OLD.kid]


async def test_revoked_key_is_never_accepted_again(place: Place) -> None:
    place.publisher.members.append(NEW.to_jwk())
    tombstone = replace(client_keys.build(OLD, now=int(NOW), source="jwks_uri"), revoked_at=int(NOW))
    place.client = client(keys=(tombstone,))
    for _ in range(3):
        place.now += 1
        assert await place.usable() == [NEW.kid]
    assert place.fetches == 1  # it is known, so nothing is looked for


async def test_registered_keys_do_not_count_beside_a_jwks_uri(place: Place) -> None:
    place.client = client(keys=(client_keys.build(NEW, now=int(NOW)),))
    assert await place.usable() == [OLD.kid]


async def test_another_address_begins_anew(place: Place) -> None:
    await place.complete()
    place.publisher.members = [NEW.to_jwk()]
    place.client = client(uri="https://keys.example/other")
    assert await place.usable(NEW) == [NEW.kid]
    assert place.publisher.fetched == [URI, "https://keys.example/other"]


@pytest.mark.parametrize("step", [-86_400, -10, 86_400 * 365])
async def test_clock_that_jumps(place: Place, step: int) -> None:
    """What was fetched in what is now the future is old; it does not stay for ever."""
    await place.complete()
    place.publisher.members = [NEW.to_jwk()]
    place.now += step
    assert await place.usable() == [NEW.kid]


async def test_hanging_fetches_of_others_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that hang take their places, and give them back in time."""
    monkeypatch.setattr(key_cache, "TURN_SECONDS", 0.2)
    monkeypatch.setattr(key_cache, "MAX_FETCHING", 2)
    slow, quick = Publisher(), Publisher()
    quick.gate.set()

    async def fetch(uri: str, *, ca: str | None = None) -> Fetched:
        return await (quick if uri == URI else slow)(uri)

    remote = RemoteKeys(fetch)
    wanted = Wanted(OLD.kid, lambda key: key.kid == OLD.kid)
    hanging = [
        asyncio.create_task(remote.complete(client(f"s{number}", "https://slow.example/"), wanted, now=NOW))
        for number in range(2)
    ]
    await asyncio.sleep(0.05)
    found = await remote.complete(client("late"), wanted, now=NOW)
    assert found.keys.usable(NOW)
    for refusal in await asyncio.gather(*hanging, return_exceptions=True):
        assert isinstance(refusal, Rejected)
        assert refusal.reason is Reason.JWKS_TIMEOUT
    await remote.close()


async def test_forgets_whom_it_has_not_been_asked_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_cache, "MAX_OWNERS", 2)
    wanted = Wanted(OLD.kid, lambda key: key.kid == OLD.kid)
    for name in ("a", "b", "a", "c", "a"):
        await place.remote.complete(client(name), wanted, now=NOW)
    assert (place.fetches, [*place.remote._cache._kept]) == (3, ["client c", "client a"])


async def test_what_nobody_foresaw_is_an_outage(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(uri: str, *, ca: str | None = None) -> Fetched:
        raise RuntimeError(uri)

    place.remote = RemoteKeys(broken)
    assert await place.refused() is Reason.JWKS_UNAVAILABLE
    assert "RuntimeError" in caplog.text


async def test_without_fetch_it_is_said_so() -> None:
    with pytest.raises(Rejected) as caught:
        await RemoteKeys().complete(client(), Wanted("x", lambda _: True), now=NOW)
    assert (caught.value.reason, caught.value.detail) == (
        Reason.JWKS_UNAVAILABLE,
        key_cache.NOT_FETCHED,
    )


async def test_end_ends_what_is_on_its_way(place: Place) -> None:
    place.publisher.gate.clear()
    waiting = asyncio.create_task(place.complete())
    await asyncio.sleep(0)
    await place.remote.close()
    with pytest.raises(Rejected):
        await waiting
