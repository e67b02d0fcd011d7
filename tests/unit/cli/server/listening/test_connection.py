"""A peer that sends nothing, too much, too slowly or reads nothing loses its connection; an answer arrives whole."""

import pytest
from tests.unit.cli.server.listening.conftest import Running, request, served

from affiant.cli.server.listening import connection
from affiant.cli.server.listening.connection import (
    BODY_SECONDS,
    CLOSE_SECONDS,
    HEADERS_SECONDS,
    LINGER_SECONDS,
    STALL_SECONDS,
)

MOMENT = 0.1  # seconds beyond a deadline
UNFINISHED = {
    "nothing": b"",
    "a byte": b"G",
    "line ends": b"\r\n\r\n",
    "headers without an end": b"GET / HTTP/1.1\r\nHost: x\r\n",
}


@pytest.mark.attack(14)
@pytest.mark.parametrize("sent", UNFINISHED.values(), ids=UNFINISHED)
@served()
async def test_headers_that_never_end_are_given_up(running: Running, sent: bytes) -> None:
    peer = await running.connect()
    await running.deliver(peer, sent)
    await running.until_open(1)
    running.pass_time(HEADERS_SECONDS + MOMENT)
    running.pass_time(LINGER_SECONDS + MOMENT)
    said = await peer.rest()
    assert said == b"" or said.startswith(b"HTTP/1.1 408 ")
    assert bool(said) == bool(sent)
    running.pass_time(CLOSE_SECONDS + MOMENT)
    await running.until_open(0)


@pytest.mark.attack(14)
@served()
async def test_bytes_now_and_then_keep_nothing_open(running: Running) -> None:
    """Neither before the first request nor after it."""
    first, later = await running.connect(), await running.ask()
    await running.deliver(first, b"GET / HTTP/1.1\r\nX: ")
    for _ in range(5):
        await running.deliver(first, b"x")
        await running.deliver(later, b"\r\n")
        running.pass_time(HEADERS_SECONDS / 5 + MOMENT)
    running.pass_time(3600)
    running.pass_time(LINGER_SECONDS + MOMENT)
    assert (await first.rest()).startswith(b"HTTP/1.1 408 ")
    assert (await later.rest())[:13] in {b"", b"HTTP/1.1 408 "}


@pytest.mark.attack(14)
@served()
async def test_handshake_that_never_ends_is_given_up(running: Running) -> None:
    peer = await running.connect(with_tls=False)
    await running.until_open(1)
    running.pass_time(HEADERS_SECONDS + MOMENT)
    assert not await peer.rest() or running.client is None
    await running.until_open(0)


@pytest.mark.attack(14)
@served()
async def test_body_that_never_ends_is_given_up(running: Running) -> None:
    peer = await running.connect()
    await running.deliver(peer, request("/read", b"Content-Length: 10", method="POST") + b"x")
    running.pass_time(BODY_SECONDS + MOMENT)
    assert await peer.rest() == b""


@pytest.mark.attack(14)
@served()
async def test_peer_that_reads_nothing_is_given_up(running: Running) -> None:
    peer = await running.connect()
    peer.reader._transport.pause_reading()  # type: ignore[attr-defined]
    await peer.send(request("/long"))
    await running.events.until(lambda: running.events.stalled > 0)
    running.pass_time(STALL_SECONDS + MOMENT)
    await running.until_open(0)


@pytest.mark.rfc(9112, "9.3")
@pytest.mark.parametrize("more", [b"", b"Expect: 100-continue"], ids=["plain", "expects"])
@served()
async def test_answer_before_the_end_of_the_body_closes(running: Running, more: bytes) -> None:
    """The answer announces it and arrives while the peer still sends; no second request is read."""
    peer = await running.connect()
    await peer.send(request("/refuse", b"Content-Length: 3000000000", *filter(None, [more]), method="POST"))
    await peer.send(b"x" * 100_000)
    assert b"connection: close" in await peer.head()
    running.pass_time(LINGER_SECONDS + MOMENT)
    assert await peer.rest() == b""
    running.pass_time(CLOSE_SECONDS + MOMENT)
    await running.until_open(0)


@pytest.mark.attack(14)
@served()
async def test_peer_that_sends_on_after_a_refusal_is_cut_off(running: Running) -> None:
    """A peer that goes on to send is cut off after the first megabytes, before any deadline."""
    peer = await running.connect()
    await peer.send(request("/refuse", b"Content-Length: 3000000000", method="POST"))
    assert await peer.flood(100_000_000) < 50_000_000


@pytest.mark.parametrize("path", ["/", "/read"])
@served()
async def test_body_that_was_sent_keeps_the_connection(running: Running, path: str) -> None:
    peer = await running.connect()
    for _ in range(3):
        await peer.send(request(path, b"Content-Length: 5", method="POST") + b"hello")
        assert b"connection: close" not in await peer.head()


@served()
async def test_answer_to_a_peer_that_has_gone_is_dropped(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    peer = await running.connect()
    await running.start(peer)
    (answering,) = running.server.server_state.tasks
    peer.writer.transport.abort()
    await running.until_open(0)
    running.events.release.set()
    await answering
    assert caplog.records == []


@pytest.mark.parametrize("body", [b"", b"hello"])
@served()
async def test_connection_without_another_request_is_closed_in_time(running: Running, body: bytes) -> None:
    kept = await running.connect()
    for _ in range(2):
        # The body apart from the headers: none of it counts as the beginning of a further request.
        await running.deliver(kept, request("/read", b"Content-Length: %d" % len(body), method="POST"))
        await kept.send(body)
        assert b"200 OK" in await kept.head()
        running.pass_time(3600 - MOMENT)
    running.pass_time(2 * MOMENT)
    assert await kept.rest() == b""
    await running.until_open(0)


@pytest.mark.attack(14)
@served()
async def test_headers_have_a_size(running: Running) -> None:
    peer = await running.connect()
    await peer.send(b"GET / HTTP/1.1\r\nX: ")
    for _ in range(20):
        await peer.send(b"x" * 10_000)
    assert (await running.last_answer(peer)).startswith(b"HTTP/1.1 431 ")


@pytest.mark.attack(14)
@served()
async def test_trailers_have_a_size(running: Running) -> None:
    peer = await running.connect()
    await peer.send(request("/read", b"Transfer-Encoding: chunked", method="POST") + b"0\r\nX: ")
    assert await peer.flood(100_000_000) < 50_000_000


@pytest.mark.attack(30)
@served()
async def test_pipeline_is_answered_in_order_and_has_an_end(running: Running) -> None:
    """All answers before the limit arrive, and then the server closes: a peer could send requests without end."""
    peer = await running.connect()
    await peer.send(request() * (connection.MAX_PIPELINED + 100))
    said = await running.last_answer(peer)
    assert said.count(b"HTTP/1.1 200 ") == connection.MAX_PIPELINED + 1
    assert said.count(b"HTTP/1.1 ") == connection.MAX_PIPELINED + 1
    assert said.count(b"connection: close") == 1


@pytest.mark.attack(30)
@served()
async def test_nonsense_behind_a_request_is_refused_behind_its_answer(running: Running) -> None:
    """Otherwise a client would take the 400 for the answer to its request."""
    peer = await running.connect()
    await running.deliver(peer, request("/slow") + b"nonsense\r\n\r\n")
    running.events.release.set()
    said = await running.last_answer(peer)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.count(b"HTTP/1.1 ") == 1


@served()
async def test_upgrade_is_ignored(running: Running) -> None:
    """RFC 9110 7.8: Java's client asks for h2c; no endpoint is a WebSocket."""
    for name in (b"h2c", b"websocket"):
        peer = await running.connect()
        for _ in range(2):
            await peer.send(request("/", b"Connection: Upgrade", b"Upgrade: " + name))
            assert (await peer.head()).startswith(b"HTTP/1.1 200 ")
        await running.until_open(1)
        peer.writer.close()
        await running.until_open(0)


@pytest.mark.attack(13)
@served()
async def test_what_follows_an_upgrade_is_answered(running: Running) -> None:
    """In one piece or several; CONNECT, which is only an upgrade, ends the connection."""
    wish = request("/", b"Connection: Upgrade, keep-alive", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__")
    peer = await running.connect()
    await peer.send(wish * 3)
    for _ in range(3):
        assert (await peer.head()).startswith(b"HTTP/1.1 200 ")
    await peer.send(b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n" + request("/"))
    said = await running.last_answer(peer)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1 ") == 1
