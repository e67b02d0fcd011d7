"""One connection: uvicorn's HTTP/1.1 protocol, with deadlines and an orderly end.

Attack: without deadlines, a peer that sends or reads nothing keeps its connection and its file forever, and a peer that
is refused before it has sent its body can go on to send gigabytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from affiant.cli.server.listening.table import Address, Table
from affiant.server.app import Server
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
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


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
    _ended = 0  # requests with a complete body
    _unfinished = 0  # bytes of the message that has not ended
    _in_body = False
    _discards: int | None = None  # bytes that will still be discarded; None while requests are read
    lingers_after: Cycle | None = None

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
        if self._table.is_ending and not self._table.is_followed:
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
        before, ended = self._requests, self._ended
        super().data_received(data)
        has_moved = self._requests != before or self._ended != ended
        self._unfinished = 0 if has_moved else self._unfinished + len(data)
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
        self._begin(self.parser.get_http_version())
        self._requests += 1
        self._in_body = True
        self._until = self.loop.time() + BODY_SECONDS

    def _begin(self, version: str) -> None:
        """Start to answer the request whose headers are complete, or queue it behind the ones before it."""
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        # The endpoint itself, unless a middleware is before the server.
        app: Any = (self.app.find(scope["path"]) if isinstance(self.app, Server) else None) or self.app
        before = cast("Cycle | None", self.cycle)
        self.cycle = cycle = Cycle(self, keep_alive=version != "1.0" and self.parser.should_keep_alive())
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._ended += 1
        self._in_body = False
        self._until = _NEVER
        self._table.mark_busy(self)

    def on_response_complete(self) -> None:
        """Wait for the next request, or linger after the last."""
        if self.lingers_after is not None and self.lingers_after.response_complete:
            self._linger()
            return
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cast(Cycle, cycle), app)
        if self._is_idle:
            self._answered_at = self.loop.time()
            # Attack: data must not move it, or a byte now and then would keep the connection open.
            self._until = self._answered_at + self.timeout_keep_alive + HEADERS_SECONDS
            self._table.mark_waiting(self)

    def _start_asgi_task(self, cycle: Cycle, app: Any) -> None:  # type: ignore[override]
        if self._table.is_ending:
            cycle.keep_alive = False
        super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, msg)

    def shutdown(self) -> None:
        """Close it because the process ends: after the answer, or if it is idle at once.

        When others have taken over, an idle connection stays for its usual time: its peer may be sending a request, and
        could not know whether one was read that meets a closed connection. Its answer is then the last.
        """
        now = self.loop.time()
        if not self._is_idle:
            self.cycle.keep_alive = False
        elif self._table.is_followed:
            pass
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
        elif self._is_kept_alive and now > self._answered_at + self.timeout_keep_alive:
            self.transport.close()  # not by a timer for each answer, as uvicorn does

    @property
    def _is_kept_alive(self) -> bool:
        """Whether it waits for the first byte of a further request."""
        return self._requests > 0 and self._is_idle and not self._unfinished and self._discards is None

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
            self.lingers_after = cast(Cycle, self.cycle)
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
        self.lingers_after = None
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        self._table.mark_waiting(self)
        if self.transport.can_write_eof():
            self.transport.write_eof()


class Cycle(RequestResponseCycle):
    """One request and its answer, as uvicorn has them, but an answer of known length is one write."""

    def __init__(self, connection: Connection, *, keep_alive: bool) -> None:
        super().__init__(
            scope=connection.scope,
            transport=connection.transport,
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=False,
            default_headers=connection.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=connection.expect_100_continue,
            keep_alive=keep_alive,
            on_response=connection.on_response_complete,
        )
        self._connection = connection
        self._head = b""  # of an answer whose body comes next
        self._is_received = False

    async def receive(self) -> Any:
        """Return a body that is complete at once; wait for more of any other, and then for the end."""
        if self.more_body or self._is_received or self.disconnected or self.response_complete:
            return await super().receive()
        self._is_received = True
        self.message_event.clear()
        self.flow.resume_reading()
        return {"type": "http.request", "body": bytes(self.body), "more_body": False}

    async def send(self, message: Any) -> None:
        if self.disconnected:
            return
        if not self.response_started:
            message = self._closing(message) if self.more_body else message
            if self._keep_head(message["status"], message.get("headers", ())):
                return
        elif self._connection.lingers_after is self:
            self.keep_alive = True  # or uvicorn would close at once, which resets a peer that still sends
        if self._head:
            await self._send_with_head(message)
        else:
            await super().send(message)

    def _closing(self, message: Any) -> Any:
        # RFC 9112 9.3: the server would read the rest of the request in vain.
        self._connection.lingers_after = self
        return {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}

    async def _send_with_head(self, message: Any) -> None:
        head, self._head = self._head, b""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        body = message["body"]
        if message.get("more_body") or self.scope["method"] == "HEAD" or len(body) != self.expected_content_length:
            self.transport.write(head)
            await super().send(message)
            return
        self.transport.write(head + body)
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _keep_head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Keep the head of an answer until its body comes, and return True; False for one without a length."""
        length, parts, lines = None, [STATUS_LINE[status]], 1
        for name, value in (*self.default_headers, *headers):
            if name == b"content-length":
                length = int(value)
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive = False
                continue
            parts += (name, b": ", value, b"\r\n")
            lines += 1
        if length is None:
            return False
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
            lines += 1
        head = b"".join(parts)
        # Attack: a line end in a value begins another header.
        if not head.count(b"\r") == head.count(b"\n") == lines or _CONTROL.search(head):
            raise RuntimeError("a header of the answer has a control character")
        self.response_started, self.waiting_for_100_continue = True, False
        self.expected_content_length, self.chunked_encoding = length, False
        self._head = head + b"\r\n"
        return True


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
        self.should_keep_alive: Callable[[], bool] = self._inner.should_keep_alive
        self.get_http_version: Callable[[], str] = self._inner.get_http_version
        self.get_method: Callable[[], bytes] = self._inner.get_method

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
