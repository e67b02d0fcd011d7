"""GET /revocations: one state, one name; held back until it changes; and never for longer than is good."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.rfc.conftest import running

from affiant.jose import compact
from affiant.jose.claims import LEEWAY
from affiant.oauth import revocations as feed
from affiant.server.published import revocations as published
from affiant.storage.entries import AuditRecord, Entry, Revocation
from affiant.storage.memory import MemoryStore
from affiant.storage.sqlite import SqliteStore
from affiant.testing import ISSUER, NOW, Server

AUDIT = AuditRecord(at=NOW, trace_id="t", endpoint="revoke", outcome="revoked")
CLAIMS = {"jti": "1", "client_id": "c", "iat": NOW}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(published, "SHARE", 1.0)
    monkeypatch.setattr(published, "LOOK_SECONDS", 0.01)


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """With the options of app.Options that a test gives it."""
    async with running(MemoryStore(), **getattr(request, "param", {})) as made:
        yield made


async def _revoke(server: Server, value: str = "1", *, until: int = NOW + 60) -> None:
    await server.store.ledger.claim(Entry(AUDIT, revocations=(Revocation("jti", value, NOW, until),)))


async def _get(server: Server, etag: str | None = None, **query: str) -> httpx2.Response:
    headers = {"If-None-Match": etag} if etag else {}
    return await server.http.get("/revocations", headers=headers, params=query)


async def _feed(server: Server, reply: httpx2.Response) -> feed.Feed:
    verified = compact.verify(compact.parse(reply.text), (await server.signing_key()).public())
    return feed.verify(verified, issuer=ISSUER, now=server.clock.now)


async def test_anybody_may_read_it(server: Server) -> None:
    reply = await _get(server)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/revocations+jwt"
    assert reply.headers["cache-control"] == "public, no-cache"
    assert not (await _feed(server, reply)).revokes(CLAIMS)
    await _revoke(server)
    assert (await _feed(server, await _get(server))).revokes(CLAIMS)
    document = (await server.http.get("/.well-known/oauth-authorization-server")).json()
    assert document["revocations_uri"] == f"{ISSUER}/revocations"


async def test_one_state_has_one_name(server: Server) -> None:
    """Until it changes, or is signed anew."""
    first = await _get(server)
    server.clock.now += 1
    same = await _get(server, first.headers["etag"])
    assert (same.status_code, same.headers["etag"], same.content) == (304, first.headers["etag"], b"")
    assert (await _get(server, f'"x", {first.headers["etag"]}')).status_code == 304
    server.clock.now += feed.PERIOD
    assert (await _get(server, first.headers["etag"])).status_code == 200
    etag = (await _get(server)).headers["etag"]
    await _revoke(server)
    assert (await _get(server, etag)).status_code == 200


async def test_it_is_always_young(server: Server) -> None:
    """Whenever it is asked for, it may be believed for more than one period."""
    for seconds in range(0, 2 * feed.PERIOD, 7):
        server.clock.now = NOW + seconds
        told = await _feed(server, await _get(server))
        assert told.issued_at <= server.clock.now < told.expires_at - feed.PERIOD


async def test_what_a_guard_may_still_accept_is_still_in_it(server: Server) -> None:
    """Past its exp by the leeway of a guard whose clock is late as well; and gone when nobody can."""
    await _revoke(server, until=NOW + 60)
    server.clock.now = NOW + 60 + 2 * LEEWAY
    assert (await _feed(server, await _get(server))).revokes(CLAIMS)
    server.clock.now = NOW + 60 + published.KEPT_SECONDS + feed.PERIOD
    assert not (await _feed(server, await _get(server))).revokes(CLAIMS)


async def test_it_is_held_back_until_it_changes(server: Server) -> None:
    etag = (await _get(server)).headers["etag"]
    waiting = [asyncio.create_task(_get(server, etag, wait="20")) for _ in range(5)]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in waiting)
    await _revoke(server)
    for reply in await asyncio.wait_for(asyncio.gather(*waiting), 2):
        assert reply.status_code == 200
        assert (await _feed(server, reply)).revokes(CLAIMS)


async def test_a_change_before_the_first_look_is_not_missed(server: Server) -> None:
    """By who has what was true a moment ago: it is told at once."""
    etag = (await _get(server)).headers["etag"]
    await _revoke(server)
    assert (await asyncio.wait_for(_get(server, etag, wait="20"), 2)).status_code == 200


async def test_held_back_no_longer_than_was_asked(server: Server) -> None:
    etag = (await _get(server)).headers["etag"]
    assert (await asyncio.wait_for(_get(server, etag, wait="1"), 3)).status_code == 304


@pytest.mark.parametrize("wait", ["", "0", "-1", "x", "1e9", "99999999999999999999", "1.5", "\u0661"])
async def test_a_wait_that_is_none(server: Server, wait: str) -> None:
    etag = (await _get(server)).headers["etag"]
    assert (await asyncio.wait_for(_get(server, etag, wait=wait), 1)).status_code == 304


async def test_the_end_lets_everybody_go(server: Server) -> None:
    etag = (await _get(server)).headers["etag"]
    waiting = asyncio.create_task(_get(server, etag, wait="25"))
    await asyncio.sleep(0.05)
    endpoint = next(r for r in server.app.routes if getattr(r, "path", "") == "/revocations")
    endpoint.endpoint.__wrapped__.__self__.stop()  # type: ignore[attr-defined]
    assert (await asyncio.wait_for(waiting, 1)).status_code == 304
    assert (await asyncio.wait_for(_get(server, etag, wait="25"), 1)).status_code == 304


@pytest.mark.parametrize("server", [{"max_waiting": 2}], indirect=True, ids=["two"])
async def test_only_so_many_wait(server: Server) -> None:
    etag = (await _get(server)).headers["etag"]
    waiting = [asyncio.create_task(_get(server, etag, wait="20")) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert (await asyncio.wait_for(_get(server, etag, wait="20"), 1)).status_code == 304
    await _revoke(server)
    assert [reply.status_code for reply in await asyncio.gather(*waiting)] == [200, 200]


@pytest.mark.parametrize("server", [{"max_waiting": 1}], indirect=True, ids=["one"])
async def test_who_goes_away_waits_no_more(server: Server) -> None:
    """A place that a closed connection held is free at once; who sends a body is answered at once."""
    etag = (await _get(server)).headers["etag"].encode()
    ways: list[dict[str, object]] = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"x", "more_body": True},
    ]
    for then in ways:
        sent: list[object] = []

        async def receive(then: dict[str, object] = then) -> dict[str, object]:
            return then

        async def send(message: object, sent: list[object] = sent) -> None:
            sent.append(message)

        scope: dict[str, object] = {
            "type": "http",
            "method": "GET",
            "path": "/revocations",
            "raw_path": b"/revocations",
        }
        scope |= {"query_string": b"wait=25", "headers": [(b"if-none-match", etag)], "client": None, "root_path": ""}
        scope |= {"scheme": "https", "server": ("as.example", 443), "http_version": "1.1"}
        await asyncio.wait_for(server.app(scope, receive, send), 1)


async def test_without_a_store_it_says_so(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from affiant.errors import StoreError

    etag = (await _get(server)).headers["etag"]
    waiting = asyncio.create_task(_get(server, etag, wait="20"))
    await asyncio.sleep(0.05)

    async def fail(_: int) -> str:
        raise StoreError("away")

    monkeypatch.setattr(server.store.revocations, "mark", fail)
    for reply in (await asyncio.wait_for(waiting, 2), await _get(server)):
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")


async def test_many_at_once_are_one_look(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes while one is under way has its answer; when the store is slow to fail, all hear it at once."""
    from affiant.errors import StoreError

    looks, fails, mark = list[int](), [False], server.store.revocations.mark

    async def slowly(now: int) -> str:
        looks.append(now)
        await asyncio.sleep(0.05)
        if fails[0]:
            raise StoreError("away")
        return await mark(now)

    monkeypatch.setattr(server.store.revocations, "mark", slowly)
    for fails[0], status in ((False, 200), (True, 503)):
        looks.clear()
        replies = await asyncio.gather(*(_get(server) for _ in range(50)))
        assert {reply.status_code for reply in replies} == {status}
        assert len(looks) <= 2


async def test_what_takes_long_to_tell_is_told_less_often(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may revoke can make it large, and whoever asks would make it anew: that must not take all of a worker."""
    monkeypatch.setattr(published, "SHARE", 0.1)
    built, build = list[int](), feed.build

    async def slowly(*args: Any, **options: Any) -> str:
        built.append(1)
        time.sleep(0.05)  # noqa: ASYNC251 - so it is: nobody else is served meanwhile
        return await build(*args, **options)

    monkeypatch.setattr(feed, "build", slowly)
    begun = time.monotonic()
    for number in range(20):
        await _revoke(server, str(number))
        assert (await _get(server)).status_code == 200
    assert len(built) <= 2 + (time.monotonic() - begun) / 0.4
    async with asyncio.timeout(5):
        while not (await _feed(server, await _get(server))).revokes({**CLAIMS, "jti": "19"}):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("how", ["{}", "W/{}", '"x" , W/{}', "*"])
async def test_a_copy_is_known_however_its_name_is_spelt(server: Server, how: str) -> None:
    """RFC 9110 section 13.1.2: the comparison is the weak one, and * is whatever there is."""
    bare = (await _get(server)).headers["etag"].removeprefix("W/")
    assert (await _get(server, how.format(bare))).status_code == 304
    assert (await _get(server, '"other"')).status_code == 200


async def test_nodes_tell_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one name, so that a balancer between them changes nothing; and each hears of what another revoked."""
    monkeypatch.setattr(published, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(published, "SHARE", 1.0)
    path = tmp_path / "affiant.db"
    async with running(SqliteStore(path)) as one:
        from affiant.server import app

        other = app.build(
            issuer=ISSUER, store=SqliteStore(path), master_key=one.master_key, clock=lambda: one.clock.now
        )
        import httpx2

        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=other), base_url=ISSUER)
        async with other.router.lifespan_context(other), http:
            etag = (await _get(one)).headers["etag"]
            assert (await http.get("/revocations", headers={"If-None-Match": etag})).status_code == 304
            waiting = asyncio.create_task(http.get("/revocations?wait=20", headers={"If-None-Match": etag}))
            await asyncio.sleep(0.05)
            await _revoke(one)
            heard = await asyncio.wait_for(waiting, 3)
            assert (await _get(one)).headers["etag"] == heard.headers["etag"] != etag
