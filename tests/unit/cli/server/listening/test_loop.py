"""Connections are capped, idle ones make room for new ones, and the end of the process waits for nobody who is idle."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable
from ipaddress import ip_network

import pytest
from tests.unit.cli.server.listening.conftest import Running, request

from affiant.cli.server.listening import connection, files
from affiant.cli.server.listening.table import Caps, parse_networks

LOCAL = (ip_network("127.0.0.0/8"),)


@pytest.mark.attack(14)
@pytest.mark.parametrize("caps", [{"total": 20}, {"per_address": 20}], ids=["in all", "per address"])
def test_silent_connections_shut_nobody_out(run: Callable[..., None], caps: dict[str, int]) -> None:
    """A hundred where twenty may be: a client that has something to say is served all the same."""

    async def scenario(running: Running) -> None:
        silent = [await running.connect(with_tls=False) for _ in range(100)]
        for _ in range(5):
            peer = await running.ask()
            peer.writer.close()
        assert len(silent) == 100
        assert 0 < running.open <= 20

    run(scenario, **caps)


@pytest.mark.attack(14)
@pytest.mark.parametrize("caps", [{"total": 20}, {"per_address": 20}], ids=["in all", "per address"])
@pytest.mark.parametrize(
    "sent",
    [request("/read", b"Content-Length: 10", method="POST") + b"x", request("/long")],
    ids=["bodies that never end", "answers that are not read"],
)
def test_slow_peers_shut_nobody_out(run: Callable[..., None], sent: bytes, caps: dict[str, int]) -> None:
    """Their requests are in flight, but the server waits for them as for the silent ones."""

    async def scenario(running: Running) -> None:
        for _ in range(30):
            peer = await running.connect()
            peer.reader._transport.pause_reading()  # type: ignore[attr-defined]
            await peer.send(sent)
        for _ in range(5):
            (await running.ask()).writer.close()
        assert 0 < running.open <= 20
        for peer in running.peers:
            peer.writer.transport.abort()

    run(scenario, **caps)


def test_connection_that_was_idle_for_longest_is_closed_first(run: Callable[..., None]) -> None:
    async def scenario(running: Running) -> None:
        first, second = await running.ask(), await running.ask()
        await first.send(request())
        await first.head()
        third = await running.ask()
        assert await second.rest() == b""
        for peer in (first, third):
            await peer.send(request())
            assert (await peer.head()).startswith(b"HTTP/1.1 200 ")

    run(scenario, total=2)


@pytest.mark.parametrize("caps", [{"total": 2}, {"per_address": 2}], ids=["in all", "per address"])
def test_request_in_flight_is_never_closed_for_another(run: Callable[..., None], caps: dict[str, int]) -> None:
    async def scenario(running: Running) -> None:
        busy = [await running.connect() for _ in range(2)]
        for peer in busy:
            await peer.send(request("/slow"))
        await asyncio.sleep(0.05)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await running.ask()
        for peer in busy:
            assert (await peer.head()).startswith(b"HTTP/1.1 200 ")

    run(scenario, **caps)


def test_proxies_are_not_counted_by_address(run: Callable[..., None]) -> None:
    async def scenario(running: Running) -> None:
        peers = [await running.ask() for _ in range(5)]
        await running.until_open(5)
        assert len(peers) == 5

    run(scenario, per_address=2, proxies=LOCAL)


def test_addresses_of_one_host_count_together() -> None:
    caps = Caps(proxies=parse_networks("10.0.0.1, 192.168.0.0/16", ""))
    assert caps.name("2001:db8::1") == caps.name("2001:db8::2")
    assert caps.name("::ffff:10.0.0.1") is None
    assert caps.name("10.0.0.2") == "10.0.0.2"
    assert caps.name("192.168.3.4") is None
    assert Caps(per_address=0).name("10.0.0.2") is None
    assert Caps(proxies=parse_networks("*")).name("2001:db8::1") is None


def test_end_closes_what_is_idle_at_once(run: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that reads nothing, as a pool of connections does, would never end TLS."""
    monkeypatch.setattr(connection, "ENDING_SECONDS", 0.0)
    began = 0.0

    async def scenario(running: Running) -> None:
        nonlocal began
        idle = [await running.ask() for _ in range(10)]
        for peer in idle:
            peer.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        began = time.monotonic()

    run(scenario)
    assert time.monotonic() - began < 3


def test_end_waits_for_the_answer(run: Callable[..., None]) -> None:
    """Of a request in flight, and of one whose connection was made just before; then each is told to go."""
    heads = []

    async def scenario(running: Running) -> None:
        busy, fresh = await running.connect(), await running.connect()
        await busy.send(request("/slow"))

        async def later() -> None:
            await asyncio.sleep(0.1)
            await fresh.send(request())
            heads.append(await fresh.head())

        async def read() -> None:
            heads.append(await busy.head())

        running.tasks += [asyncio.create_task(later()), asyncio.create_task(read())]
        await asyncio.sleep(0.05)

    run(scenario)
    assert len(heads) == 2
    assert all(head.startswith(b"HTTP/1.1 200 ") and b"connection: close" in head for head in heads)


def test_end_refuses_what_comes_later(run: Callable[..., None]) -> None:
    async def scenario(running: Running) -> None:
        busy = await running.connect()
        await busy.send(request("/slow"))
        await asyncio.sleep(0.05)
        ending = asyncio.create_task(running.server.shutdown(running.sockets))
        address = running.sockets[0].getsockname()
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)
        assert (await busy.head()).startswith(b"HTTP/1.1 200 ")
        await ending

    run(scenario)


def test_limit_of_files_is_raised_or_the_cap_is_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [1024, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, now: limits.__setitem__(slice(None), now))
    assert files.raise_limit(500) == 500
    assert limits == [1024, 4096]
    assert files.raise_limit(2000) == 2000
    assert limits == [2256, 4096]
    assert files.raise_limit(10_000) == 4096 - files.RESERVE
    assert limits == [4096, 4096]
