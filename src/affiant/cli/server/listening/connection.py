"""One connection: uvicorn's HTTP/1.1 protocol, with deadlines and an orderly end.

Attack: without deadlines, a peer that sends or reads nothing keeps its connection and its file forever, and a peer that
is refused before it has sent its body can go on to send gigabytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from affiant.cli.server.listening.table import Address, Table
from affiant.server.request.certificate import PEER

HEADERS_SECONDS = 10.0  # from accepting, or from the last answer and its keep-alive, to the end of the headers
BODY_SECONDS = 20.0  # from there to the end of the body; endpoints wait for 5
STALL_SECONDS = 20.0  # in which a peer must read some of an answer
CLOSE_SECONDS = 5.0  # in which a peer must read the last of it and close TLS
ENDING_SECONDS = 1.0  # the same when the process ends; a new connection then must send its request in it
FLUSH_SECONDS = 0.05  # in which what was written reaches the kernel
LINGER_SECONDS = 2.0  # in which the rest of a request is discarded: a reset could overtake the answer
LINGER_BYTES = 1 << 20
MAX_HEADERS_BYTES = 65_536
MAX_BODY_BYTES = 1 << 20  # with chunk extensions and trailers, which no endpoint sees; a form has 64 KiB
MAX_PIPELINED = 128  # requests that wait on one connection for the answer to the first
_NEVER = float("inf")


class Connection(HttpToolsProtocol):
    """uvicorn's connection, which also notes the peer and its certificate (the TLS extension of ASGI)."""

    address: Address  # of the peer
    _table: Table
    _socket: socket.socket
    _is_made = False  # from the end of the TLS handshake
    _tls: dict[str, Any] | None = None
    _until = _NEVER  # when it is closed, unless it makes progress
    _stalled_until = _NEVER  # when it is closed, unless the peer reads
    _closing_until = _NEVER  # when it is aborted, once it is being closed
    _accepted_at = 0.0
    _answered_at = 0.0
    _requests = 0  # with complete headers
    _unfinished = 0  # bytes of the message that has not ended
    _in_body = False
    _discards: int | None = None  # bytes that will still be discarded; None while requests are read
    _lingers_after: RequestResponseCycle | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.parser = _Parser(self)  # type: ignore[assignment]

    def join(self, table: Table, accepted: socket.socket, address: Address) -> None:
        """Enter the table as soon as the connection is accepted, before any handshake."""
        self._table, self._socket, self.address = table, accepted, address
        self._accepted_at = self.loop.time()
        self._until = self._accepted_at + HEADERS_SECONDS
        table.add(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._is_made = True
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            # Read once: it stays the same for all requests.
            der = tls.getpeercert(binary_form=True)
            self._tls = {"client_cert_chain": [ssl.DER_cert_to_PEM_cert(der)] if der else []}
        if self._table.is_ending:
            self.hurry()

    def connection_lost(self, exc: Exception | None) -> None:
        self._table.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read requests, or discard what follows the last one."""
        if self._discards is not None:
            self._discards -= len(data)
            if self._discards < 0:
                self.transport.abort()
            return
        before = self._requests
        super().data_received(data)
        self._unfinished = self._unfinished + len(data) if self._requests == before else 0
        if self._in_body and self._requests != before:
            self._table.mark_busy(self)  # so that it waits from now on, not since the last request
            self._table.mark_waiting(self)
        elif self._in_body and self._unfinished > MAX_BODY_BYTES:
            self.transport.abort()
        elif not self._in_body and self._unfinished > MAX_HEADERS_BYTES and self._discards is None:
            self._refuse(431, "the headers have more than 64 KiB")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        # Order: before a middleware replaces it with the address of X-Forwarded-For.
        scope[PEER] = self.client[0] if self.client else None
        if self._tls is not None:
            scope["extensions"] = {"tls": self._tls}

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # these headers are parsed once more
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many requests at once")  # ends in send_400_response
        super().on_headers_complete()
        self._requests += 1
        self._in_body = True
        self._until = self.loop.time() + BODY_SECONDS

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._in_body = False
        self._until = _NEVER
        self._table.mark_busy(self)

    def on_response_complete(self) -> None:
        """Wait for the next request, or linger after the last."""
        if self._lingers_after is not None and self._lingers_after.response_complete:
            self._linger()
            return
        super().on_response_complete()
        if self._is_idle:
            self._answered_at = self.loop.time()
            # Attack: data must not move it, or a byte now and then would keep the connection open.
            self._until = self._answered_at + self.timeout_keep_alive + HEADERS_SECONDS
            self._table.mark_waiting(self)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start an answer; close the connection after one that came before the end of its request."""
        if self._table.is_ending:
            cycle.keep_alive = False

        async def run(scope: Any, receive: Any, send: Any) -> None:
            if not cycle.more_body and self._lingers_after is not cycle:
                await app(scope, receive, send)
                return

            async def send_whole(message: Any) -> None:
                if message["type"] == "http.response.start" and cycle.more_body:
                    # RFC 9112 9.3: the server would read the rest of the request in vain.
                    message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
                    self._lingers_after = cycle
                elif message["type"] == "http.response.body" and self._lingers_after is cycle:
                    cycle.keep_alive = True  # or uvicorn would close at once, which resets a peer that still sends
                await send(message)

            await app(scope, receive, send_whole)

        super()._start_asgi_task(cycle, run)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, msg)

    def shutdown(self) -> None:
        """Close it because the process ends: at once if it is idle, otherwise after the answer."""
        now = self.loop.time()
        if not self._is_idle:
            self.cycle.keep_alive = False
        elif self._requests == 0 and now - self._accepted_at < ENDING_SECONDS:
            self.hurry()  # its first request is probably on the way
        elif now - self._answered_at < ENDING_SECONDS:
            self.transport.close()  # the answer may not have been sent yet
        else:
            self.drop()

    def hurry(self) -> None:
        """Shorten the time for the first request, because the process ends."""
        self._until = min(self._until, self._accepted_at + ENDING_SECONDS)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled_until = self.loop.time() + STALL_SECONDS
        self._table.mark_waiting(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stalled_until = _NEVER
        if not (self._is_idle or self._in_body):
            self._table.mark_busy(self)

    def drop(self) -> None:
        """Close without waiting for the peer: a peer that never reads would never close TLS either."""
        if not self._is_made:
            self._table.discard(self)
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            return
        self.transport.close()
        self.loop.call_later(FLUSH_SECONDS, self.transport.abort)

    def check(self, now: float) -> None:
        """Close it if it is overdue."""
        if self._is_made and self.transport.is_closing():
            grace = ENDING_SECONDS if self._table.is_ending else CLOSE_SECONDS
            self._closing_until = min(self._closing_until, now + grace)
            if now >= self._closing_until:
                self.transport.abort()
        elif now > self._stalled_until or (now > self._until and not self._is_idle):
            self.transport.abort()
        elif now > self._until:
            self._expire()

    @property
    def _is_idle(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def _expire(self) -> None:
        if not self._is_made:
            self.drop()
        elif self._unfinished and self._discards is None:
            self._refuse(408, "the headers did not end in time")
        else:
            self.transport.close()

    def _refuse(self, status: int, text: str) -> None:
        """Refuse an invalid request, and read no more."""
        if self._is_idle:
            self._write_refusal(status, text)
            self._linger()
        elif self.pipeline or not self._in_body:
            # Order: HTTP/1.1 matches answers to requests by order, so earlier requests are answered first.
            self.cycle.keep_alive = False
            self._lingers_after = self.cycle
            self._discards = LINGER_BYTES
        else:  # the body of the request in flight
            self._write_refusal(status, text)
            self.transport.close()

    def _write_refusal(self, status: int, text: str) -> None:
        head = b"content-type: text/plain; charset=utf-8\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
        length = b"content-length: %d\r\n\r\n" % len(text)
        self.transport.write(STATUS_LINE[status] + head + length + text.encode("ascii"))

    def _linger(self) -> None:
        """Close when the peer has closed, or after a while; discard what it sends until then.

        RFC 9112 9.6: closing while the peer sends would reset the connection, and the peer could lose the answer.
        """
        if self.transport.is_closing():
            return
        self._discards = LINGER_BYTES
        self._until = self.loop.time() + LINGER_SECONDS
        self._lingers_after = None
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        self._table.mark_waiting(self)
        if self.transport.can_write_eof():
            self.transport.write_eof()


class _Parser:
    """llhttp, as uvicorn uses it, but blind to a request for another protocol (RFC 9110 7.8).

    Attack: llhttp ends such a request with its headers and takes its body for the other protocol. This server has no
    other protocol, so the body would be read as the next request, with the rights of the proxy that sent it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._begin()

    def _begin(self) -> None:
        self._inner = httptools.HttpRequestParser(self._connection)
        # As uvicorn does: a request that says it is the last, and is not, gets one answer.
        self._inner.set_dangerous_leniencies(lenient_data_after_close=True)
        # uvicorn calls these.
        self.should_keep_alive = self._inner.should_keep_alive
        self.get_http_version = self._inner.get_http_version
        self.get_method = self._inner.get_method

    def feed_data(self, data: bytes) -> None:
        while True:
            try:
                self._inner.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._head() + data[upgrade.args[0] :]
                self._begin()
            else:
                return

    def should_upgrade(self) -> bool:
        """Whether the headers ask for another protocol, so that they are parsed once more."""
        return bool(self._inner.should_upgrade())

    def _head(self) -> bytes:
        """Return the head of the request without the Upgrade header."""
        method, headers = self.get_method(), self._connection.headers
        if method == b"CONNECT":
            raise httptools.HttpParserError("CONNECT")
        line = b"%b %b HTTP/%b\r\n" % (method, self._connection.url, self.get_http_version().encode())
        kept = [b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade"]
        return line + b"".join(kept) + b"\r\n"
