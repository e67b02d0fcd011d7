"""Checks of the way to the server: name, proxy, TLS and clock."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

import httpx2

from affiant.cli.diagnosis.checkup.credentials import validity
from affiant.cli.diagnosis.checkup.finding import BAD, GOOD, WARNING, Examined, Finding
from affiant.cli.diagnosis.checkup.reply import SECONDS, get
from affiant.client.protocol.hint import SKEW_SECONDS
from affiant.oauth.metadata import well_known_url
from affiant.system.network import authorities, failure, find_proxy, http_client
from affiant.system.urls import PORTS

_UNNOTICED = 5.0  # seconds


def name(examined: Examined) -> Iterator[Finding]:
    """The server's name is known, here or to the proxy."""
    if examined.credentials is None:
        return
    issuer = examined.credentials.issuer
    proxy, parts = find_proxy(issuer), urlsplit(issuer)
    if proxy is not None:
        to = urlsplit(proxy)  # it may have a password
        where = f"{to.scheme}://{to.netloc.rpartition('@')[2]}"
        yield Finding("proxy", GOOD, f"{parts.hostname} is asked through {where}; NO_PROXY={parts.hostname} avoids it")
        return
    try:
        found = socket.getaddrinfo(*_place(parts), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "not a name"
        yield Finding("name", BAD, f"{parts.hostname} is not known ({why})", f"getent hosts {parts.hostname}")
        return
    addresses = dict.fromkeys(str(address[4][0]) for address in found)
    yield Finding("name", GOOD, f"{parts.hostname} is {', '.join(addresses)}")


def _place(parts: SplitResult) -> tuple[str, int]:
    return parts.hostname or "", parts.port or PORTS.get(parts.scheme, 443)


def tls(examined: Examined) -> Iterator[Finding]:
    """Its certificate is trusted here, and valid for a while."""
    if examined.credentials is not None:
        yield from certificate(examined.credentials.issuer)


def certificate(issuer: str) -> Iterator[Finding]:
    """Judge the certificate that is shown at this issuer."""
    parts = urlsplit(issuer)
    if parts.scheme != "https":
        yield Finding("tls", GOOD, "http on loopback needs none")
        return
    if find_proxy(issuer) is not None:  # what follows goes through it, and fails if TLS does
        return
    try:
        ends_at = _end_of_certificate(parts)
    except OSError as error:
        yield Finding(
            "tls", BAD, failure(error, issuer), f"openssl s_client -connect {':'.join(map(str, _place(parts)))}"
        )
        return
    yield validity("tls", ends_at, "let the operator of the server renew its certificate")


def _end_of_certificate(parts: SplitResult) -> float:
    with (
        socket.create_connection(_place(parts), SECONDS) as connection,
        authorities().wrap_socket(connection, server_hostname=parts.hostname) as secured,
    ):
        shown = secured.getpeercert() or {}
    return float(ssl.cert_time_to_seconds(str(shown["notAfter"])))


def clock(examined: Examined) -> Iterator[Finding]:
    """The clocks of both sides differ by little."""
    if examined.server is None:
        return
    with contextlib.suppress(httpx2.HTTPError), http_client(timeout=SECONDS) as http:
        sent_at = time.time()
        reply, _ = get(http, well_known_url(examined.server.issuer))
        yield from compare(reply, sent_at)


def compare(reply: httpx2.Response, sent_at: float) -> Iterator[Finding]:
    """Compare this machine's clock with the Date of an answer that came just now."""
    with contextlib.suppress(KeyError, ValueError, TypeError):
        # A Date is cut to whole seconds.
        offset = parsedate_to_datetime(reply.headers["date"]).timestamp() + 0.5 - (sent_at + time.time()) / 2
        side = "behind" if offset > 0 else "ahead of"
        if abs(offset) <= _UNNOTICED:
            yield Finding("clock", GOOD, "it agrees with that of the server")
            return
        state = BAD if abs(offset) > SKEW_SECONDS else WARNING
        text = f"this machine's clock is {abs(offset):.0f} s {side} that of the server"
        yield Finding("clock", state, text, "timedatectl set-ntp true, on the machine whose clock is wrong")
