"""Connections are capped, idle ones make room for new ones, and a process that ends does not wait for idle ones."""

import asyncio
import resource
from collections.abc import Callable
from ipaddress import ip_network

import pytest
from tests.unit.cli.server.listening.conftest import Running, request, served

from affiant.cli.server.listening import connection
from affiant.cli.server.listening.table import RESERVE, Caps, parse_networks, raise_limit

LOCAL = (ip_network("127.0.0.0/8"),)


@pytest.mark.attack(14)
@pytest.mark.parametrize("caps", [{"total": 20}, {"per_address": 20}], ids=["in all", "per address"])
@served()
async def test_silent_connections_make_room_for_a_request(running: Running, caps: dict[str, int]) -> None:
    """A hundred connect where twenty are allowed: a client that sends a request is served."""
    silent = [await running.connect(with_tls=False) for _ in range(100)]
    for _ in range(5):
        peer = await running.ask()
        peer.writer.close()
    assert len(silent) == 100
    assert 0 < running.open <= 20


@pytest.mark.attack(14)
@pytest.mark.parametrize("caps", [{"total": 20}, {"per_address": 20}], ids=["in all", "per address"])
@pytest.mark.parametrize(
    "sent",
    [request("/read", b"Content-Length: 10", method="POST") + b"x", request("/long")],
    ids=["bodies that never end", "answers that are not read"],
)
@served()
async def test_slow_peers_make_room_for_a_request(running: Running, sent: bytes, caps: dict[str, int]) -> None:
    """Their requests are in flight, but the server waits for their peers."""
    for _ in range(30):
        peer = await running.connect()
        peer.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await peer.send(sent)
    for _ in range(5):
        (await running.ask()).writer.close()
    assert 0 < running.open <= 20
    for peer in running.peers:
        peer.writer.transport.abort()


@served(total=2)
async def test_connection_that_was_idle_for_longest_is_closed_first(running: Running) -> None:
    first, second = await running.ask(), await running.ask()
    await first.send(request())
    await first.head()
    third = await running.ask()
    assert await second.rest() == b""
    for peer in (first, third):
        await peer.send(request())
        assert (await peer.head()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("caps", [{"total": 2}, {"per_address": 2}], ids=["in all", "per address"])
@served()
async def test_request_in_flight_is_never_closed_for_another(running: Running, caps: dict[str, int]) -> None:
    busy = [await running.connect() for _ in range(2)]
    await running.start(*busy)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await running.ask()
    running.events.release.set()
    for peer in busy:
        assert (await peer.head()).startswith(b"HTTP/1.1 200 ")


@served(per_address=2, proxies=LOCAL)
async def test_proxies_are_not_counted_by_address(running: Running) -> None:
    peers = [await running.ask() for _ in range(5)]
    await running.until_open(5)
    assert len(peers) == 5


def test_addresses_of_one_host_count_together() -> None:
    caps = Caps(proxies=parse_networks("10.0.0.1, 192.168.0.0/16", ""))
    assert caps.name("2001:db8::1") == caps.name("2001:db8::2")
    assert caps.name("::ffff:10.0.0.1") is None
    assert caps.name("10.0.0.2") == "10.0.0.2"
    assert caps.name("192.168.3.4") is None
    assert Caps(per_address=0).name("10.0.0.2") is None
    assert Caps(proxies=parse_networks("*")).name("2001:db8::1") is None


@served()
async def test_end_closes_what_is_idle_at_once(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that reads nothing, as a pool of connections does, would never close TLS."""
    monkeypatch.setattr(connection, "ENDING_SECONDS", 1000.0)  # the end of the server waits for no deadline
    for _ in range(10):
        peer = await running.ask()
        peer.reader._transport.pause_reading()  # type: ignore[attr-defined]
    running.pass_time(2000.0)


def test_end_waits_for_the_answer(run: Callable[..., None]) -> None:
    """To a request in flight, and to one on a connection that was just made; then it closes both."""
    heads = []

    async def scenario(running: Running) -> None:
        busy, fresh = await running.connect(), await running.connect()
        await running.start(busy)

        async def finish() -> None:
            await running.until_ending()
            await fresh.send(request())
            heads.append(await fresh.head())
            running.events.release.set()
            heads.append(await busy.head())

        running.tasks.append(asyncio.create_task(finish()))

    run(scenario)
    assert len(heads) == 2
    assert all(head.startswith(b"HTTP/1.1 200 ") and b"connection: close" in head for head in heads)


def test_end_that_others_follow_answers_idle_connections_once_more(run: Callable[..., None]) -> None:
    """Their peers may be sending: one that was answered before, and one that never asked. No deadline has passed."""
    heads = []

    async def scenario(running: Running) -> None:
        idle, new = await running.ask(), await running.connect()
        await running.until_open(2)
        running.table.succession.is_followed = True

        async def ask() -> None:
            await running.until_ending()
            running.pass_time(connection.ENDING_SECONDS + 1)
            for peer in (idle, new):
                await peer.send(request())
                heads.append(await peer.head())

        running.tasks.append(asyncio.create_task(ask()))

    run(scenario)
    assert len(heads) == 2
    assert all(head.startswith(b"HTTP/1.1 200 ") and b"connection: close" in head for head in heads)


@served()
async def test_end_refuses_what_comes_later(running: Running) -> None:
    busy = await running.connect()
    await running.start(busy)
    address = running.sockets[0].getsockname()
    ending = asyncio.create_task(running.server.shutdown(running.sockets))
    await running.until_ending()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    running.events.release.set()
    assert (await busy.head()).startswith(b"HTTP/1.1 200 ")
    await ending


def test_limit_of_files_is_raised_or_the_cap_is_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [1024, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, now: limits.__setitem__(slice(None), now))
    assert raise_limit(500) == 500
    assert limits == [1024, 4096]
    assert raise_limit(2000) == 2000
    assert limits == [2256, 4096]
    assert raise_limit(10_000) == 4096 - RESERVE
    assert limits == [4096, 4096]
