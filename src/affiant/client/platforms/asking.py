"""Ask a platform's endpoint, within limits of time and size."""

from __future__ import annotations

import contextlib
import random
import re
import ssl
import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from affiant.client.platforms.failure import PlatformError
from affiant.client.protocol import transport
from affiant.client.protocol.flow import NotSent, Reply, Send, Step, Wait
from affiant.errors import RemoteError, Unreachable
from affiant.oauth.metadata import OK, TOO_MANY
from affiant.system import network

if TYPE_CHECKING:  # the first request loads it
    import httpx2

SECONDS = 5.0  # in all
MAX_REPLY = 65_536  # bytes
_HEADER = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_SERVER_ERROR = 500


def get(
    url: str, headers: dict[str, str], *, who: str, seconds: float | None = None, through_proxy: bool = False
) -> Reply:
    """Return the response: once more after 429 and 5xx. No message has the query, a header or the body.

    Raises:
        PlatformError: there is none.
    """
    if not all(_HEADER.fullmatch(value) for value in headers.values()):
        raise PlatformError(f"{who}: a variable of the platform has characters that cannot be sent")
    place = urlsplit(url)._replace(query="", fragment="").geturl()
    end = time.monotonic() + (SECONDS if seconds is None else seconds)
    try:
        with _client(through_proxy=through_proxy) as http:
            return transport.run(_ask(url, headers, end), http)
    except Unreachable as error:
        raise PlatformError(f"{who}: {error}") from None
    except RemoteError as error:
        raise PlatformError(f"{who}: {str(error).replace(url, place)}") from None


def _ask(url: str, headers: dict[str, str], end: float) -> Generator[Step, Reply | None, Reply]:
    def send() -> Send:
        # The transport waits twice as long: once for the connection, and once for the response.
        return Send("GET", url, headers, timeout=max(0.05, (end - time.monotonic()) / 2), limit=MAX_REPLY)

    reply: Reply | None = None
    with contextlib.suppress(NotSent):
        reply = yield send()
    if reply is None or reply.status == TOO_MANY or reply.status >= _SERVER_ERROR:
        yield Wait(random.uniform(0.1, 0.3))  # noqa: S311 - jitter
        reply = yield send()
    if reply is None:
        raise RemoteError(f"{url}: no reply")
    return reply


@contextlib.contextmanager
def _client(*, through_proxy: bool) -> Iterator[httpx2.Client]:
    if through_proxy:
        with network.http_client() as http:
            yield http
        return
    import httpx2  # noqa: PLC0415 - the first request pays for it, not the import

    # Attack: a proxy of the environment reads the token that this machine's own address gives. No certificate is
    # trusted: these addresses have none.
    with httpx2.Client(trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as http:
        yield http


def with_query(url: str, **parameters: str) -> str:
    """Return the URL with these parameters, in place of its own of the same name."""
    parts = urlsplit(url)
    kept = [(n, v) for n, v in parse_qsl(parts.query, keep_blank_values=True) if n not in parameters]
    return urlunsplit(parts._replace(query=urlencode([*kept, *parameters.items()]), fragment=""))


def check_ok(reply: Reply, *, who: str, refused: str) -> None:
    """Raise PlatformError unless it is a 200; `refused` says what a 4xx means."""
    if reply.status == OK:
        return
    if 300 <= reply.status < 400:  # noqa: PLR2004
        raise PlatformError(f"{who}: the platform answered {reply.status}, a redirect, which is not followed")
    what = f"the platform answered {reply.status}"
    if reply.status == TOO_MANY or reply.status >= _SERVER_ERROR:
        raise PlatformError(f"{who}: {what}, twice: try again later")
    raise PlatformError(f"{who}: {what}: {refused}")
