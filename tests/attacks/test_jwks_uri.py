"""T10: jwks_uri at run time. A real https server publishes the keys of c9; the authorization server fetches them."""

import asyncio
import json
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.attacks.bench import OTHER, STRANGER, Bench, assertion, check_answer, form, post, raw, running
from tests.certificates import authority, make_authority
from tests.key_server import HOST, LOOPBACK, PUBLIC, KeyServer, canary, reply
from tests.key_server import running as publishing
from tests.wire import Request

from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.jose.signer import Signer
from affiant.server import app
from affiant.server.explain import captured, explanation
from affiant.server.registry import fetch
from affiant.server.registry.credentials import keys as client_keys
from affiant.storage.memory import MemoryStore
from affiant.testing import ISSUER, NOW, messages

Place = tuple[Bench, KeyServer]

OWN, NEXT = keys.generate("ES256"), keys.generate("ES256")


def request(bench: Bench, key: Signer = OWN, client_id: str = "c9", **changes: Any) -> Request:
    return post(form(bench.assertion(client_id, key=key, **changes)))


@asynccontextmanager
async def standing(
    log: pytest.LogCaptureFixture, patch: pytest.MonkeyPatch, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Place]:
    async with publishing(tls) as server, running(MemoryStore(), log, patch, publisher=server) as bench:
        server.publish(OWN.public().to_jwk())
        await bench.add_client("c9", jwks_uri=server.uri())
        yield bench, server


@pytest.fixture
async def place(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    async with standing(caplog, monkeypatch) as made:
        yield made


async def refused(bench: Bench, what: Request, reason: Reason) -> dict[str, Any]:
    _, record = await bench.denied(what, reason)
    return record


async def let_in(bench: Bench, what: Request) -> dict[str, Any]:
    await bench.good(what)
    return await bench.last()


async def test_keys_are_fetched_and_kept(place: Place) -> None:
    bench, server = place
    for shown in [await let_in(bench, request(bench)) for _ in range(20)]:
        assert (shown["kid"], shown["thumbprint"]) == (OWN.kid, OWN.public().thumbprint)
        assert "observed" not in shown
    assert server.hits == 1


@pytest.mark.parametrize(
    "what",
    [
        post(form(assertion(STRANGER, iss="nobody", sub="nobody"))),
        post(form(assertion(STRANGER))),  # c1 has registered its key
        post(form(assertion(STRANGER, header={"jku": "https://keys.example/", "jwk": STRANGER.public().to_jwk()}))),
        post({"grant_type": "client_credentials", "client_id": "c9", "client_secret": "x"}),
        post(form(assertion(STRANGER, iss="off9", sub="off9"))),
    ],
    ids=["unknown client", "client with keys", "jku", "secret", "disabled"],
)
async def test_stranger_makes_nothing_be_fetched(place: Place, what: Request) -> None:
    bench, server = place
    await bench.add_client("off9", jwks_uri=server.uri())
    await bench.change_client("off9", enabled=False)
    assert (await bench.send(what)).status == 401
    assert server.hits == 0


async def test_unusable_algorithm_fetches_nothing(place: Place) -> None:
    bench, server = place
    await bench.add_client("pinned", jwks_uri=server.uri(), token_endpoint_auth_signing_alg="PS256")
    await refused(bench, request(bench, client_id="pinned"), Reason.KEY_ALGORITHM)
    mac = keys.SecretKey(bytes(32))
    await refused(bench, request(bench, mac), Reason.KEY_ALGORITHM)
    assert server.hits == 0


@pytest.mark.attack(215)
@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.2", "[::1]", "169.254.169.254", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]"]
)
async def test_inner_address_is_blocked(place: Place, host: str) -> None:
    """Loopback's one address is allowed in these tests by its number, and no other."""
    bench, server = place
    async with canary() as inner:
        server.names.answers = [["127.0.0.2"]]
        await bench.add_client("inner", jwks_uri=inner.uri(host))
        shown = await refused(bench, request(bench, client_id="inner"), Reason.JWKS_BLOCKED)
        assert shown["expected"] == "a public address"
        assert inner.connections == 0


@pytest.mark.attack(215)
async def test_name_that_changes_its_address(place: Place) -> None:
    """Public when it is judged and loopback a moment later: asked for once, and only the judged address is tried."""
    bench, server = place
    async with canary() as inner:
        server.names.answers = [[PUBLIC], ["127.0.0.2"]]
        await bench.add_client("inner", jwks_uri=inner.uri())
        await refused(bench, request(bench, client_id="inner"), Reason.JWKS_UNAVAILABLE)
        assert (server.names.asked, inner.connections) == ([HOST], 0)
        assert f"a connection to ('{PUBLIC}', {inner.port})" in bench.log.text  # which the bench does not let through
        assert "127.0.0.2" not in bench.log.text
        bench.clock.advance(60)
        await refused(bench, request(bench, client_id="inner"), Reason.JWKS_BLOCKED)
        assert inner.connections == 0


@pytest.mark.attack(216)
@pytest.mark.parametrize(
    "status", ["301 Moved", "303 See Other", "307 Again", "308 For ever", "300 Choose", "201 Made"]
)
async def test_nothing_but_200_is_answer(place: Place, status: str) -> None:
    """A set that comes with another status is none, wherever it points to."""
    bench, server = place
    server.answer = reply({"keys": [OWN.public().to_jwk()]}, f"Location: {server.uri()}", status=status)
    await refused(bench, request(bench), Reason.JWKS_STATUS)
    assert server.hits == 1


@pytest.mark.attack(216)
async def test_redirect_is_not_followed(place: Place) -> None:
    bench, server = place
    async with canary() as inner:
        server.answer = reply({}, f"Location: https://{LOOPBACK}:{inner.port}/", status="302 Found")
        await refused(bench, request(bench), Reason.JWKS_STATUS)
        assert inner.connections == 0


BOMB = reply(zlib.compress(b" " * 10_000_000), "Content-Encoding: gzip")


@pytest.mark.attack(217)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [(reply(b" " * 10_000_000), Reason.JWKS_TOO_LARGE), (BOMB, Reason.JWKS_MALFORMED)],
    ids=["10 MB", "gzip bomb"],
)
async def test_large_reply(place: Place, answer: bytes, reason: Reason) -> None:
    bench, server = place
    server.answer = answer
    begun = time.monotonic()
    await refused(bench, request(bench), reason)
    assert time.monotonic() - begun < 3


@pytest.mark.attack(217)
async def test_endless_reply(place: Place) -> None:
    bench, server = place

    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" " * 4096)
            await writer.drain()

    server.answer = endless
    begun = time.monotonic()
    await refused(bench, request(bench), Reason.JWKS_TOO_LARGE)
    assert time.monotonic() - begun < 3


async def drops(writer: asyncio.StreamWriter) -> None:
    """One byte a second."""
    for byte in b"HTTP/1.1 200 OK\r\n\r\n":
        writer.write(bytes([byte]))
        await asyncio.sleep(1)


@pytest.mark.attack(218)
async def test_slow_reply_does_not_block_others(place: Place) -> None:
    bench, server = place
    server.answer = drops
    idle = await _times(bench, 50)
    begun = time.monotonic()
    what = request(bench)
    slow = asyncio.create_task(bench.send(what))
    await asyncio.sleep(0.1)
    busy = await _times(bench, 50)
    assert not slow.done()
    check_answer(await slow, Reason.JWKS_TIMEOUT, what)
    assert time.monotonic() - begun <= 3
    assert sorted(busy)[48] < 2 * sorted(idle)[48] + 0.02  # what two cores for everything make of "twice"
    begun = time.monotonic()
    await refused(bench, request(bench), Reason.JWKS_TIMEOUT)
    assert time.monotonic() - begun < 0.5  # it is known for slow now


@pytest.mark.attack(218)
async def test_slow_replies_do_not_block_clients(place: Place) -> None:
    """c9 and more like it wait for a byte a second; c2 to c50 all at once, with keys of their own or published ones."""
    bench, server = place
    others = [f"o{number}" for number in range(48)]
    for name in others:
        await bench.add_client(name, key=OTHER)
    await bench.add_client("published", jwks_uri=server.uri())
    await let_in(bench, request(bench, client_id="published"))
    server.answer = drops
    slow = [asyncio.create_task(bench.send(request(bench))) for _ in range(20)]
    await asyncio.sleep(0.1)
    begun = time.monotonic()
    replies = await asyncio.gather(
        *(bench.send(request(bench, OTHER, name)) for name in others), bench.send(request(bench, client_id="published"))
    )
    assert {found.status for found in replies} == {200}
    assert time.monotonic() - begun < 1.0  # two cores, and all of them together
    assert not any(task.done() for task in slow)
    assert {(await task).status for task in slow} == {401}
    assert server.hits == 2


async def _times(bench: Bench, number: int) -> list[float]:
    times = []
    for _ in range(number):
        begun = time.perf_counter()
        await let_in(bench, request(bench, OTHER, "c2"))
        times.append(time.perf_counter() - begun)
    return times


@pytest.mark.attack(220, 221)
async def test_flood_of_unknown_kids(place: Place) -> None:
    """A thousand names, each of them new; in their midst the client goes on with the key that is known."""
    bench, server = place
    await let_in(bench, request(bench))
    sent = set[str]()
    for number in range(1000):
        if number % 100 == 0:
            bench.clock.advance(1)
        what = _named(bench, number)
        sent.add(str(compact.parse(dict(what.values())["client_assertion"]).kid))
        if number % 50 == 0:
            await refused(bench, what, Reason.KEY_UNKNOWN)
            await let_in(bench, request(bench))
        else:
            assert (await bench.send(what)).status == 401
    assert len(sent) == 1000
    assert server.hits == 2


@pytest.mark.attack(220)
async def test_flood_of_unknown_kids_at_once(place: Place) -> None:
    """Before anything is known, and all in one moment: no two of them begin a fetch each."""
    bench, server = place
    replies = await asyncio.gather(
        *(bench.send(_named(bench, number)) for number in range(200)), bench.send(request(bench))
    )
    assert [found.status for found in replies[:-1]] == [401] * 200
    assert server.hits <= 2
    await let_in(bench, request(bench))


@pytest.mark.attack(220)
async def test_flood_without_end(place: Place) -> None:
    """Five minutes of it, a new kid each second: two fetches in any thirty seconds, and a new key still gets in."""
    bench, server = place
    await let_in(bench, request(bench))
    hits = []
    for number in range(300):
        bench.clock.advance(1)
        assert (await bench.send(_named(bench, number))).status == 401
        hits.append(server.hits)
    assert all(later - before <= 2 for before, later in zip(hits, hits[30:], strict=False))
    server.publish(OWN.public().to_jwk(), NEXT.public().to_jwk())
    for number in range(60):
        bench.clock.advance(1)
        await bench.send(_named(bench, 1000 + number))
    await let_in(bench, request(bench, NEXT))


def _named(bench: Bench, number: int) -> Request:
    """Signed by a stranger, under a new name: `assertion` would give it that of its key."""
    said = messages.claims("c9", now=bench.clock.now)
    return post(form(raw({"alg": "ES256", "kid": f"k{number}"}, said, sign=STRANGER.sign)))


@pytest.mark.attack(222)
async def test_outage_after_good_fetch(place: Place) -> None:
    bench, server = place
    await let_in(bench, request(bench))
    server.answer = reply({}, status="503 Gone")
    bench.clock.advance(3600)
    shown = await let_in(bench, request(bench))
    assert shown["observed"] == Reason.JWKS_STALE.code
    assert "keys of client c9 cannot be fetched" in bench.log.text
    bench.clock.advance(86_400)
    await refused(bench, request(bench), Reason.JWKS_STALE)


@pytest.mark.attack(222)
async def test_outage_at_first_use(place: Place) -> None:
    bench, server = place
    server.vanish()
    shown = await refused(bench, request(bench), Reason.JWKS_UNAVAILABLE)
    assert HOST in shown["detail"]
    server.names.answers = [[LOOPBACK]]
    bench.clock.advance(30)
    await let_in(bench, request(bench))


@pytest.mark.attack(223)
async def test_new_kid(place: Place) -> None:
    bench, server = place
    await let_in(bench, request(bench))
    server.publish(OWN.public().to_jwk(), NEXT.public().to_jwk())
    await let_in(bench, request(bench, NEXT))
    assert server.hits == 2
    await let_in(bench, request(bench, NEXT))
    await let_in(bench, request(bench))
    assert server.hits == 2


@pytest.mark.attack(226)
@pytest.mark.parametrize("which", ["self-signed", "expired", "wrong host"])
async def test_bad_certificate(which: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = {
        "self-signed": make_authority().serve(HOST),
        "expired": authority().serve(HOST, days=-1),
        "wrong host": authority().serve("other.example"),
    }[which]
    async with standing(caplog, monkeypatch, tls=tls) as (bench, server):
        await refused(bench, request(bench), Reason.JWKS_TLS)
        assert server.hits == 0
        await let_in(bench, request(bench, OTHER, "c2"))


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"<html>", kind="text/html"),
        reply(b"not json"),
        reply({"keys": []}),
        reply({}),
        reply([]),
        b"\x16\x03\x01",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    ],
    ids=["html", "text", "no key", "no keys", "array", "not HTTP", "long header"],
)
async def test_garbage(place: Place, answer: bytes) -> None:
    bench, server = place
    server.answer = answer
    await refused(bench, request(bench), Reason.JWKS_MALFORMED)


async def test_bad_key_beside_good_one(place: Place) -> None:
    bench, server = place
    server.publish({"kty": "oct", "k": "AAAA", "kid": OWN.kid}, {"kty": "?"}, None, OWN.public().to_jwk())
    await let_in(bench, request(bench))


@pytest.mark.rfc(7517, "4.5")
async def test_one_kid_for_two_keys(place: Place) -> None:
    bench, server = place
    server.publish({**NEXT.public().to_jwk(), "kid": OWN.kid}, OWN.public().to_jwk(), OTHER.public().to_jwk())
    await let_in(bench, request(bench))
    await let_in(bench, request(bench, keys.parse_private_jwk({**NEXT.to_jwk(), "kid": OWN.kid})))
    await let_in(bench, request(bench, OTHER))
    stranger = keys.parse_private_jwk({**keys.generate("ES256").to_jwk(), "kid": OWN.kid})
    await refused(bench, request(bench, stranger), Reason.SIGNATURE)


async def test_revoked_key_stays_revoked(place: Place) -> None:
    """Although the set still lists it."""
    bench, server = place
    await let_in(bench, request(bench))
    tombstone = replace(client_keys.build(OWN.public(), now=NOW, source="jwks_uri"), revoked_at=NOW)
    await bench.change_client("c9", keys=(tombstone,))
    await refused(bench, request(bench), Reason.KEY_UNKNOWN)
    server.publish(OWN.public().to_jwk(), NEXT.public().to_jwk())
    await let_in(bench, request(bench, NEXT))
    await refused(bench, request(bench), Reason.KEY_UNKNOWN)


async def test_jti_is_used_up_once(place: Place) -> None:
    """Whoever waited for the fetch: two at once with one jti are one token."""
    bench, server = place
    what = request(bench)
    replies = await asyncio.gather(*(bench.send(what) for _ in range(5)))
    assert sorted(found.status for found in replies) == [200, 401, 401, 401, 401]
    assert server.hits == 1


async def test_every_refusal_is_one_text(place: Place) -> None:
    """Nobody learns from the answer that a client has a jwks_uri, nor what became of it."""
    bench, server = place
    server.vanish()
    told = set()
    for what in (request(bench), request(bench, STRANGER, "nobody"), request(bench, STRANGER, "c1")):
        members = (await bench.send(what)).json()
        description = members["error_description"].replace(members["trace_id"], "")
        told.add((members["error"], members["error_uri"], description))
    assert len(told) == 1


async def test_explaining_fetches_nothing(place: Place) -> None:
    """And says so; of a request that was refused, the audit log has the reason."""
    bench, server = place
    explainer = app.build_explainer(issuer=ISSUER, store=bench.store, master_key=bench.master_key)
    found = await explainer.explain(captured.parse(request(bench).body.decode()), now=NOW)
    assert (found.reason, found.lines[5].mark) == (Reason.JWKS_UNAVAILABLE, explanation.NOT_KNOWN)
    assert found.fix is not None
    assert found.fix.line == "affiant explain TRACE_ID"
    assert server.hits == 0
    server.publish()
    shown = await refused(bench, request(bench), Reason.JWKS_MALFORMED)
    told = await explainer.explain_record(shown)
    assert (told.reason, told.lines[5].mark) == (Reason.JWKS_MALFORMED, explanation.FAILED)


@dataclass
class Published:
    """A client c9 whose keys are at a jwks_uri.

    Attributes:
        host: of its jwks_uri.
        spoil: makes the answer wrong.
        later: seconds after a good fetch at which it is wrong; 0 for from the beginning.
        header: of the assertion.
    """

    spoil: Callable[[KeyServer], object]
    host: str = HOST
    later: int = 0
    header: dict[str, str] | None = None


async def _drip(_: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


AT_A_JWKS_URI = {
    Reason.JWKS_BLOCKED: Published(lambda server: setattr(server.names, "answers", [["10.0.0.1"]])),
    Reason.JWKS_UNAVAILABLE: Published(lambda server: server.vanish()),
    Reason.JWKS_TIMEOUT: Published(lambda server: setattr(server, "answer", _drip)),
    Reason.JWKS_TLS: Published(lambda _: None, host="other.example"),
    Reason.JWKS_STATUS: Published(lambda server: setattr(server, "answer", reply({}, status="404 Not Found"))),
    Reason.JWKS_TOO_LARGE: Published(lambda server: setattr(server, "answer", reply(b" " * 65_537))),
    Reason.JWKS_MALFORMED: Published(lambda server: setattr(server, "answer", reply({}))),
    Reason.JWKS_STALE: Published(lambda server: server.vanish(), later=86_400),
    Reason.JKU: Published(lambda _: None, header={"jku": "https://keys.example/"}),
}


@pytest.mark.parametrize("reason", AT_A_JWKS_URI, ids=lambda reason: reason.code)
async def test_reason_is_reached_at_jwks_uri(
    reason: Reason, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is told nothing of it, and the operator all."""
    monkeypatch.setattr(fetch, "FETCH_SECONDS", 0.5)
    case = AT_A_JWKS_URI[reason]
    async with publishing() as server, running(MemoryStore(), caplog, monkeypatch, publisher=server) as bench:
        server.publish(OWN.public().to_jwk())
        await bench.add_client("c9", jwks_uri=server.uri(case.host))
        if case.later:
            assert (await bench.send(request(bench))).status == 200
            bench.clock.now += case.later
        case.spoil(server)
        what = request(bench, header=case.header)
        await refused(bench, what, reason)


@pytest.mark.rfc(7515, "4.1.2")
async def test_jku_is_compared_and_never_followed(place: Place) -> None:
    """SMART App Launch, step 1a of "Signature verification": an address that is not registered fails."""
    bench, server = place
    await let_in(bench, request(bench, header={"jku": server.uri()}))
    before = server.connections
    async with canary() as other:
        others = [f"https://{HOST}:{other.port}/jwks", f"{server.uri()}/", f"{server.uri()}#", server.uri().upper(), ""]
        for jku in (*others, None, 1, [server.uri()], {"a": server.uri()}):
            line = await refused(bench, request(bench, header={"jku": jku}), Reason.JKU)
            assert line["expected"] == server.uri()
        assert other.connections == 0
    assert server.connections == before
    stranger = keys.parse_private_jwk({**keys.generate("ES256").to_jwk(), "kid": OWN.kid})
    await refused(bench, request(bench, stranger, header={"jku": "https://evil.example/"}), Reason.SIGNATURE)


@pytest.mark.rfc(7515, "4.1.2")
async def test_jku_with_registered_keys_is_observed(place: Place) -> None:
    """There is no address to compare it with, and nobody fetches it: a client that sends one is let in as before."""
    bench, _ = place
    async with canary() as other:
        await bench.add_client("inline", key=OWN)
        sent = request(bench, client_id="inline", header={"jku": f"https://{HOST}:{other.port}/jwks"})
        assert (await bench.send(sent)).status == 200
        assert json.loads((await bench.audited())[-1])["observed"] == "assertion.jku"
        assert other.connections == 0


async def test_key_that_changed_under_its_kid(place: Place) -> None:
    bench, server = place
    await let_in(bench, request(bench))
    changed = keys.parse_private_jwk({**NEXT.to_jwk(), "kid": OWN.kid})
    server.publish(changed.public().to_jwk())
    bench.clock.now += 1
    await let_in(bench, request(bench, changed))
    line = await refused(bench, request(bench), Reason.SIGNATURE)
    assert line["detail"] == "its key set was fetched 0 s ago"


async def test_no_store_key_set_expires_in_seconds(place: Place) -> None:
    """SMART App Launch: a set SHALL NOT be kept for longer than its Cache-Control says."""
    bench, server = place
    for control in ("no-store", "max-age=0", "no-cache"):
        server.publish(OWN.public().to_jwk(), headers=[f"Cache-Control: {control}"])
        bench.clock.now += 4000
        await let_in(bench, request(bench))
        server.publish(NEXT.public().to_jwk(), headers=[f"Cache-Control: {control}"])
        bench.clock.now += 6
        await refused(bench, request(bench), Reason.KEY_UNKNOWN)


async def test_skipped_keys_are_logged(place: Place) -> None:
    bench, server = place
    server.publish(OWN.public().to_jwk(), {**NEXT.public().to_jwk(), "use": "enc"})
    line = await refused(bench, request(bench, NEXT), Reason.KEY_UNKNOWN)
    assert line["detail"].startswith("its key set was fetched 0 s ago; left out: key 2 (")
    assert "not for signatures" in line["detail"]
