"""Syslog (RFC 5424): over a Unix socket, UDP (RFC 5426), TCP with octet counting (RFC 6587) or TLS (RFC 5425).

Syslog has no acknowledgement. Over TCP and TLS a batch counts as delivered when the system of the receiver has
acknowledged all its bytes; what its program then loses, and what UDP loses, is a gap in the numbers.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from affiant.errors import ConfigError
from affiant.server.request.audit.sinks.sink import SEND_SECONDS, Line, SinkError
from affiant.system.text import timestamp
from affiant.system.urls import join_host

_FACILITY: Final = 10  # security and authorization
_WARNING, _INFO = 4, 6
_WANTED: Final = "write unix:/dev/log, udp://HOST:514, tcp://HOST:514 or tls://HOST:6514"
_PORTS: Final = {"udp": 514, "tcp": 514, "tls": 6514}
# Of no vendor: the number that RFC 5612 has for documents.
_ID: Final = "affiant@32473"
_SHOWN: Final = ("trace_id", "endpoint", "outcome", "reason", "client_id", "by")  # after the number
_UNSAID = re.compile(r"[^\x21-\x7e]")
_SIOCOUTQ: Final = 0x5411  # Linux: bytes that the peer has not acknowledged
_LOOK_SECONDS: Final = 0.01


class Receiver(NamedTuple):
    """The address of a syslog receiver: a path, or a host and a port."""

    kind: str  # unix, udp, tcp or tls
    host: str
    port: int = 0

    def __str__(self) -> str:
        return f"unix:{self.host}" if self.kind == "unix" else f"{self.kind}://{join_host(self.host, self.port)}"


def parse_receiver(text: str) -> Receiver:
    """Return the receiver; ConfigError if the text names none."""
    if text.startswith("unix:/"):
        return Receiver("unix", text.removeprefix("unix:"))
    try:
        parts = urlsplit(text)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        raise ConfigError(_WANTED) from None
    rest = (parts.path.strip("/"), parts.query, parts.fragment, parts.username)
    if parts.scheme not in _PORTS or not parts.hostname or any(rest):
        raise ConfigError(_WANTED)
    return Receiver(parts.scheme, parts.hostname, port)


class SyslogSink:
    """Sends one message for each record; its text is the line of the record."""

    name: str = "audit_syslog"

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._socket: Any = None
        self._host = _UNSAID.sub("", socket.gethostname())[:255] or "-"

    def send(self, lines: Sequence[Line]) -> None:
        """Send these."""
        try:
            opened = self._open()
            if self._receiver.kind in ("unix", "udp"):
                for line in lines:
                    opened.send(self._message(line))
            else:
                _check_open(opened)
                messages = map(self._message, lines)
                opened.sendall(b"".join(b"%d %s" % (len(message), message) for message in messages))
                _wait_until_acknowledged(opened)
                _check_open(opened)
        except OSError as error:
            self.close()
            raise SinkError(f"{self._receiver} cannot be reached: {_why(error)}") from error

    def newest(self) -> tuple[int, bytes] | None:
        """A receiver says nothing."""
        return None

    def close(self) -> None:
        """Close the connection."""
        opened, self._socket = self._socket, None
        if opened is not None:
            opened.close()

    def _open(self) -> Any:
        if self._socket is None:
            self._socket = _connect(self._receiver)
        return self._socket

    def _message(self, line: Line) -> bytes:
        """Return the message (RFC 5424 section 6)."""
        try:
            record = msgspec.json.decode(line.record, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            record = {}
        level = _INFO if record.get("outcome") not in ("refused", "limited") else _WARNING
        at = record.get("at")
        when = timestamp(at if isinstance(at, int | float) else time.time())
        kind = _UNSAID.sub("", str(record.get("endpoint", "-")))[:32] or "-"
        shown = {"number": line.number, **{name: record[name] for name in _SHOWN if record.get(name) is not None}}
        data = "".join(f' {name}="{_escape(str(value))}"' for name, value in shown.items())
        head = f"<{_FACILITY * 8 + level}>1 {when} {self._host} affiant {os.getpid()} {kind} [{_ID}{data}] "
        return head.encode("utf-8", "replace") + line.text


def _connect(receiver: Receiver) -> Any:
    if receiver.kind == "unix":
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        opened.settimeout(SEND_SECONDS)
        opened.connect(receiver.host)
        return opened
    if receiver.kind == "udp":
        family, kind, protocol, _, address = socket.getaddrinfo(receiver.host, receiver.port, type=socket.SOCK_DGRAM)[0]
        opened = socket.socket(family, kind, protocol)
        opened.connect(address)
        return opened
    opened = socket.create_connection((receiver.host, receiver.port), timeout=SEND_SECONDS / 2)
    if receiver.kind == "tls":
        with contextlib.ExitStack() as stack:
            stack.callback(opened.close)
            opened = ssl.create_default_context().wrap_socket(opened, server_hostname=receiver.host)
            stack.pop_all()
    return opened


def _check_open(opened: Any) -> None:
    """Raise OSError if the receiver has closed the connection: what is written then is lost."""
    opened.settimeout(0.0)
    try:
        if opened.recv(1024) == b"":
            raise ConnectionResetError("it closed the connection")
    except (BlockingIOError, ssl.SSLWantReadError):
        pass
    finally:
        opened.settimeout(SEND_SECONDS / 2)


def _wait_until_acknowledged(opened: Any) -> None:
    if not sys.platform.startswith("linux"):
        return
    import fcntl  # noqa: PLC0415 - not on every platform

    end = time.monotonic() + SEND_SECONDS / 2
    while struct.unpack("i", fcntl.ioctl(opened.fileno(), _SIOCOUTQ, bytes(4)))[0]:
        if time.monotonic() > end:
            raise TimeoutError("it does not take what is sent")
        time.sleep(_LOOK_SECONDS)


def _escape(value: str) -> str:
    # RFC 5424 section 6.3.3; control characters as in JSON, for receivers that write lines.
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in value[:256])
    return re.sub(r'(["\\\]])', r"\\\1", shown)


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return "TLS failed"
    return error.strerror or str(error) or type(error).__name__
