"""HTTP clients, and messages about network failures: of the name, proxy, connection or certificate, and what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from urllib.parse import urlsplit

from affiant.errors import ConfigError

if TYPE_CHECKING:  # the first request loads it
    import httpx2

# X509_V_ERR_… of OpenSSL.
_NOT_YET_VALID, _EXPIRED = 9, 10
_NOT_TRUSTED = (18, 19, 20, 21)
_OTHER_NAME = (62, 63, 64)
_AUTHORITIES = "SSL_CERT_FILE"
_PROXIES = "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY"
_DEPTH = 16  # of causes, whose chain can be a ring


def failure(error: BaseException, url: str, *, proxy: str | None = None, authorities: str = _AUTHORITIES) -> str:
    """Return one sentence about an exception of an HTTP library, whose authorities this variable names."""
    place = urlsplit(url).netloc.rpartition("@")[2]
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _certificate(place, cause, authorities)
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            reason = (cause.reason or str(cause)).replace("_", " ").lower()
            return f"no TLS connection with {place} ({reason}): is it an https address, and is this the port of it?"
    kind = type(error).__name__
    if kind == "ProxyError":
        return f"{_proxy(proxy)} refused to connect to {place} ({error}): ask its operator, or set NO_PROXY"
    if kind in ("ConnectError", "ConnectTimeout") and proxy is not None:
        return f"{_proxy(proxy)} {_connection(proxy, causes)}: correct the variable, or set NO_PROXY={_host(url)}"
    return f"{place} {_connection(url, causes)}: is it running, and is the address right?"


def find_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for this URL."""
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - slow to load, and needed for failures alone

    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    found = getproxies()
    named = found.get(parts.scheme) or found.get("all")
    return named if not named or "://" in named else f"http://{named}"


class Options(TypedDict, total=False):
    """Some arguments of httpx2.Client and httpx2.AsyncClient."""

    auth: httpx2.Auth
    verify: ssl.SSLContext | bool
    timeout: float | httpx2.Timeout
    event_hooks: Mapping[str, list[Callable[..., Any]]] | None
    follow_redirects: bool


def http_client(**options: Unpack[Options]) -> httpx2.Client:
    """Return an HTTP client with the proxies and authorities of the environment, or raise ConfigError."""
    with _environment():
        import httpx2  # noqa: PLC0415 - the first request pays for it, not the import

        return httpx2.Client(**options)


def async_http_client(**options: Unpack[Options]) -> httpx2.AsyncClient:
    with _environment():
        import httpx2  # noqa: PLC0415 - as in `http_client`

        return httpx2.AsyncClient(**options)


def authorities() -> ssl.SSLContext:
    """Return the certificate authorities of the environment; reading them takes 50 ms."""
    with _environment():
        import httpx2  # noqa: PLC0415 - as in `http_client`

        return httpx2.create_ssl_context()


def require_http() -> None:
    """Raise ConfigError unless httpx2 is installed, which an extra brings."""
    try:
        import httpx2  # noqa: F401, PLC0415 - as in `http_client`
    except ModuleNotFoundError:
        raise ConfigError(
            "requests to other machines need a package that is not installed (httpx2): pip install 'affiant[client]',"
            " or 'affiant[guard]' for an API"
        ) from None


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Turn errors about variables of the environment into ConfigError with the name of the variable."""
    require_http()
    import httpx2  # noqa: PLC0415 - as in `http_client`

    try:
        yield
    except OSError as error:
        why = (getattr(error, "reason", None) or error.strerror or "").replace("_", " ").lower()
        named = os.environ.get(_AUTHORITIES)
        what = f"{named}, named by {_AUTHORITIES}," if named else "the certificates of authorities"
        raise ConfigError(f"{what} cannot be used ({why}): name a PEM file with certificates") from error
    except (ImportError, ValueError, httpx2.InvalidURL) as error:
        why = "a SOCKS proxy needs  pip install socksio" if isinstance(error, ImportError) else _strange_proxy()
        raise ConfigError(f"{_PROXIES} cannot be used: {why}") from None


def _strange_proxy() -> str:
    from urllib.request import getproxies  # noqa: PLC0415 - as in `find_proxy`

    schemes = {p.split("://")[0] for p in getproxies().values() if "://" in p} - {"http", "https", "socks5", "socks5h"}
    given = f", not with {min(schemes)}://" if schemes else ""
    return f"a proxy is named as http://HOST:PORT{given}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception and its causes, the outermost first, with the members of groups."""
    waiting, seen = [error], 0
    while waiting and seen < _DEPTH:
        current = waiting.pop(0)
        seen += 1
        yield current
        waiting += [e for e in (current.__cause__ or current.__context__,) if e is not None]
        waiting += getattr(current, "exceptions", ())


def _certificate(place: str, error: ssl.SSLCertVerificationError, variable: str) -> str:
    head = f"the certificate of {place}"
    if error.verify_code == _EXPIRED:
        return f"{head} has expired: renew it there, or set the clock of this machine"
    if error.verify_code == _NOT_YET_VALID:
        return f"{head} is not valid yet: set the clock of this machine, or that of its issuer"
    if error.verify_code in _OTHER_NAME:
        return f"{head} is for another name ({error.verify_message}): use a name that it has"
    if error.verify_code in _NOT_TRUSTED:
        named = os.environ.get(variable)
        given = f"{variable} names {named}" if named else f"{variable} is not set"
        return (
            f"{head} is of an authority that is not trusted here ({error.verify_message}; {given}):"
            f" set {variable} to a PEM file with the certificate of that authority"
        )
    return f"{head} cannot be trusted: {error.verify_message}"


def _connection(url: str, causes: list[BaseException]) -> str:
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return f"cannot be reached: the name {_host(url)} is not known ({cause.strerror})"
        if isinstance(cause, ConnectionRefusedError):
            return "cannot be reached: it refused the connection"
        if isinstance(cause, OSError) and cause.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return f"cannot be reached: this machine has no route to it ({cause.strerror})"
    if any("Timeout" in type(cause).__name__ for cause in causes):
        return "cannot be reached: it did not answer in time"
    why = next((str(cause) for cause in causes if str(cause)), type(causes[0]).__name__)
    return f"cannot be reached ({why})"


def _proxy(proxy: str | None) -> str:
    if proxy is None:
        return "the proxy"
    parts = urlsplit(proxy)
    # A proxy may have a password in its URL.
    return f"the proxy {parts.scheme}://{parts.netloc.rpartition('@')[2]} ({_PROXIES})"


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
