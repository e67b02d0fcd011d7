"""The HTTP client for token requests, and the certificate of a service (RFC 8705)."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from affiant.errors import LocalError
from affiant.oauth import names
from affiant.oauth.binding import mtls
from affiant.system import network

if TYPE_CHECKING:  # the first request loads it
    import httpx2


class Connection:
    """Opens an HTTP client for each request, or has the one that the caller gave."""

    def __init__(
        self,
        http: httpx2.Client | None,
        *,
        certificate: str | Path | None,
        certificate_key: str | Path | None,
        auth_method: str | None,
    ) -> None:
        if certificate is not None and http is not None:
            raise LocalError("give either http= or certificate=: the HTTP client presents its own certificate")
        if certificate is None and (certificate_key is not None or (auth_method in names.BY_TLS and http is None)):
            raise LocalError("the certificate is missing: name its file with certificate=")
        if http is not None and _is_async(http):
            raise LocalError("http= takes an httpx2.Client, also for atoken(): tokens are fetched on a thread")
        self._http = http
        self._files = (str(certificate), str(certificate_key) if certificate_key else None) if certificate else None
        self._tls: ssl.SSLContext | None = None
        self._stamps: tuple[tuple[int, ...], ...] = ()  # of the files that it was made of

    @property
    def way(self) -> object:
        """The part of the way to a server that a connection decides: two that differ may fail apart from each other."""
        return self._http, self._files

    @property
    def has_certificate(self) -> bool:
        """Whether the service named a certificate."""
        return self._files is not None

    def thumbprint(self) -> str:
        """Return the x5t#S256 of the certificate as it is in the file now, or nothing without one."""
        return mtls.parse_pem(Path(self._files[0]).read_text("ascii")).thumbprint if self._files is not None else ""

    def tls(self) -> ssl.SSLContext:
        """Return TLS settings with the certificate."""
        if self._files is None:
            raise LocalError("this service has no certificate: name its file with certificate=")
        context = network.authorities()
        try:
            # With a password, or OpenSSL would ask for one on the terminal.
            context.load_cert_chain(*self._files, password="")
        except (OSError, ValueError) as error:  # no message shows the names: one may be a key, by mistake
            why = getattr(error, "reason", None) or getattr(error, "strerror", None) or "not PEM"
            raise LocalError(f"certificate= and certificate_key= cannot be used ({why})") from None
        return context

    @contextlib.contextmanager
    def open(self) -> Iterator[httpx2.Client]:
        """Yield the given HTTP client, or one for this request: token requests are rare, so no connection is kept."""
        if self._http is not None:
            yield self._http
            return
        with network.http_client(verify=self._context()) as http:
            yield http

    def _context(self) -> ssl.SSLContext:
        """Return the TLS settings: made once, since that takes longer than a request, and for each new certificate."""
        stamps = tuple(map(_stamp, filter(None, self._files or ())))
        if self._tls is None or stamps != self._stamps:
            self._tls = network.authorities() if self._files is None else self.tls()
            self._stamps = stamps
        return self._tls


def _stamp(path: str) -> tuple[int, ...]:
    """Return what changes with the content of a file; for a missing one, what no file has."""
    try:
        found = Path(path).stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _is_async(http: httpx2.Client) -> bool:
    from inspect import iscoroutinefunction  # noqa: PLC0415 - slow to load, and few programs bring their own client

    return iscoroutinefunction(http.request)
