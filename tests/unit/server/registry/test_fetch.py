import asyncio
import time
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpcore2
import pytest
from tests.certificates import authority
from tests.key_server import HOST, LOOPBACK, PUBLIC, KeyServer, Names, canary, fetcher, listening, reply, running

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.server.registry import fetch, key_cache
from affiant.server.registry.fetch import MAX_BYTES, Resolver

SET: dict[str, Any] = {"keys": []}


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    async with running() as made:
        made.answer = reply(SET)
        yield made


class Elsewhere(httpcore2.AsyncNetworkBackend):
    """A network in which a public address is the server of the test, and everything else is where it is."""

    def __init__(self, address: str = PUBLIC) -> None:
        self.address = address
        self.connected: list[str] = []

    async def connect_tcp(self, host: str, *more: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        self.connected.append(host)
        return await httpcore2.AnyIOBackend().connect_tcp(LOOPBACK if host == self.address else host, *more, **options)


async def refused(uri: str, **options: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        await fetcher(**options)(uri)
    return caught.value


async def test_gets_the_document(server: KeyServer) -> None:
    fetched = await fetcher()(server.uri(path="/a/jwks?x=1"))
    assert (fetched.body, fetched.max_age) == (b'{"keys": []}', None)
    head = server.requests[0].lower()
    assert head.startswith("get /a/jwks?x=1 http/1.1\r\n")
    assert f"\r\nhost: {HOST}:{server.port}\r\n" in head
    assert "\r\naccept-encoding: identity\r\n" in head
    assert not any(name in head for name in ("cookie", "authorization", "referer"))


async def test_an_address_needs_no_resolver(server: KeyServer) -> None:
    names = Names()
    await fetcher(names=names)(server.uri(LOOPBACK, ""))
    assert names.asked == []


@pytest.mark.rfc(9110, "7.2")
async def test_an_ipv6_address_stands_in_brackets_in_host() -> None:
    """Without them it would read as one address with the port, and servers answer 400."""
    address = "2606:4700::1111"
    async with running(authority().serve(address)) as server:
        server.answer = reply(SET)
        await fetcher(network=Elsewhere(address))(server.uri(f"[{address}]"))
    assert f"\r\nhost: [{address}]:{server.port}\r\n" in server.requests[0].lower()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("max-age=60", 60),
        ("public, max-age=600", 600),
        ("no-store", 0),
        ("no-cache, max-age=9", 0),
        ("s-maxage=7", None),
    ],
)
async def test_max_age(server: KeyServer, value: str, seconds: int | None) -> None:
    server.answer = reply(SET, f"Cache-Control: {value}")
    assert (await fetcher()(server.uri())).max_age == seconds


@pytest.mark.attack(215)
@pytest.mark.parametrize("found", [[LOOPBACK], [PUBLIC, LOOPBACK], ["::1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"]])
async def test_one_inner_address_spoils_all(found: list[str]) -> None:
    async with canary() as inner:
        refusal = await refused(inner.uri(), allowed="", names=Names([found]))
        assert refusal.reason is Reason.JWKS_BLOCKED
        assert inner.connections == 0


async def test_allowed_host_is_reached(server: KeyServer) -> None:
    assert (await fetcher(HOST)(server.uri())).body
    assert (await refused(server.uri("other.example"), allowed=HOST)).reason is Reason.JWKS_BLOCKED


async def test_other_addresses_are_tried(server: KeyServer) -> None:
    """127.0.0.2 does not listen."""
    assert (await fetcher("127.0.0.0/8", names=Names([["127.0.0.2", LOOPBACK]]))(server.uri())).body


@pytest.mark.parametrize(
    "status", ["201 Created", "204 No", "304 Same", "401 No", "404 No", "429 No", "500 No", "503 No"]
)
async def test_only_200_is_an_answer(server: KeyServer, status: str) -> None:
    server.answer = reply(b"" if status.startswith(("204", "304")) else SET, status=status)
    assert (await refused(server.uri())).reason is Reason.JWKS_STATUS


async def test_exactly_64_kib_are_read(server: KeyServer) -> None:
    server.answer = reply(b" " * MAX_BYTES)
    assert len((await fetcher()(server.uri())).body) == MAX_BYTES
    server.answer = reply(b" " * (MAX_BYTES + 1))
    assert (await refused(server.uri())).reason is Reason.JWKS_TOO_LARGE


@pytest.mark.attack(217)
@pytest.mark.parametrize("headers", [b"", b"Transfer-Encoding: chunked\r\n"], ids=["until closed", "chunked"])
async def test_endless_reply_is_cut(server: KeyServer, headers: bytes) -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n")
        while not writer.is_closing():
            writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n" if headers else b" " * 4096)
            sent += 4096
            await writer.drain()

    server.answer = endless
    assert (await refused(server.uri())).reason is Reason.JWKS_TOO_LARGE
    assert sent < 250 * MAX_BYTES  # what the sockets hold, and no more


@pytest.mark.attack(217)
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "x"])
async def test_compressed_reply_is_not_read(server: KeyServer, coding: str) -> None:
    server.answer = reply(zlib.compress(b" " * 10_000_000), f"Content-Encoding: {coding}")
    assert (await refused(server.uri())).reason is Reason.JWKS_MALFORMED


@pytest.mark.parametrize("kind", ["application/json", "application/jwk-set+json; charset=utf-8", "text/plain", ""])
async def test_kinds_of_json(server: KeyServer, kind: str) -> None:
    server.answer = reply(SET, kind=kind)
    assert (await fetcher()(server.uri())).body


@pytest.mark.parametrize("kind", ["text/html", "image/png", "application/jwt"])
async def test_what_is_not_json_is_not_read(server: KeyServer, kind: str) -> None:
    server.answer = reply(SET, kind=kind)
    assert (await refused(server.uri())).reason is Reason.JWKS_MALFORMED


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00" * 100,
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 30_000 + b"\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["nothing", "zeros", "ssh", "long header", "many headers", "two lengths", "negative", "cut", "gzip", "chunk"],
)
async def test_what_is_not_http(server: KeyServer, answer: bytes) -> None:
    server.answer = answer
    refusal = await refused(server.uri())
    assert refusal.reason in (Reason.JWKS_MALFORMED, Reason.JWKS_UNAVAILABLE)
    assert "xxx" not in refusal.detail


@pytest.mark.attack(218)
@pytest.mark.parametrize(
    "first", [b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 100 C\r\n\r\n"]
)
async def test_drops_are_too_slow(server: KeyServer, first: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drop(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while not writer.is_closing():
            writer.write(first if first.startswith(b"HTTP/1.1 100") else b" ")
            await asyncio.sleep(0.02)

    monkeypatch.setattr(fetch, "FETCH_SECONDS", 0.3)
    server.answer = drop
    begun = time.monotonic()
    assert (await refused(server.uri())).reason is Reason.JWKS_TIMEOUT
    assert time.monotonic() - begun < 1


async def test_who_never_finishes_tls_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    monkeypatch.setattr(fetch, "FETCH_SECONDS", 0.3)
    async with listening(wait) as port:
        assert (await refused(f"https://{HOST}:{port}/")).reason is Reason.JWKS_TIMEOUT


async def test_slow_resolver_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(fetch, "FETCH_SECONDS", 0.1)
    with pytest.raises(Rejected) as caught:
        await fetch.Fetcher(resolve=never)("https://keys.example/")
    assert caught.value.reason is Reason.JWKS_TIMEOUT


def test_all_of_it_fits_into_three_seconds() -> None:
    assert key_cache.FETCH_SECONDS < 3


async def test_nobody_listens() -> None:
    async with canary() as gone:
        uri = gone.uri()
        assert (await refused(uri)).reason in (Reason.JWKS_TLS, Reason.JWKS_UNAVAILABLE), "it speaks no TLS"
    assert (await refused(uri)).reason is Reason.JWKS_UNAVAILABLE


async def test_no_proxy_is_used(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await fetcher()(server.uri())).body


async def test_name_without_an_address() -> None:
    assert (await refused("https://keys.example/", names=Names([[]]))).reason is Reason.JWKS_UNAVAILABLE


async def test_resolver_of_the_system() -> None:
    resolve = Resolver()
    assert LOOPBACK in await resolve("localhost", 443)
    for host in ("nothing.invalid", "a" * 64 + ".example"):
        with pytest.raises(OSError, match=r".*"):
            await resolve(host, 443)


async def test_lookups_that_hang_do_not_pile_up() -> None:
    resolve = Resolver()
    for _ in range(fetch.MAX_LOOKUPS):
        assert resolve._free.acquire(blocking=False)
    with pytest.raises(OSError, match="does not answer"):
        await resolve("localhost", 443)
