"""A webhook: POST of lines of JSON, signed with a shared secret, as https://www.standardwebhooks.com has it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import time
from collections.abc import Callable, Coroutine, Sequence
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from affiant.errors import ConfigError
from affiant.server.request.audit.sinks.sink import SEND_SECONDS, Line, SinkError
from affiant.system.network import async_http_client, failure
from affiant.system.urls import is_safe_url

if TYPE_CHECKING:  # a command that reads the settings does not wait for it
    import httpx2

TYPE: Final = "application/x-ndjson"
_SHORTEST: Final = 16  # bytes of a secret
_RETRY_AFTER: Final = "retry-after"
_LONGEST_BODY: Final = 65_536  # bytes of an answer
_CLOSE_SECONDS: Final = 1.0
_PREFIX: Final = "whsec_"  # of a secret in base64


def parse_url(url: str) -> str:
    """Return the URL of a receiver; ConfigError for one that would show records to others."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("the URL of a webhook must be https://HOST/PATH") from None
    if parts.scheme not in ("https", "http") or not host or parts.username is not None or parts.fragment:
        raise ConfigError("the URL of a webhook must be https://HOST/PATH, without a user and a fragment")
    if not is_safe_url(url):
        raise ConfigError("the URL of a webhook must begin with https://, unless it is on this machine")
    return url


def parse_secret(text: str) -> bytes:
    """Return the key of the signatures; ConfigError for one that can be guessed."""
    text = text.strip()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True) if text.startswith(_PREFIX) else text.encode()
    except binascii.Error:
        raise ConfigError(f"the secret of the webhook begins with {_PREFIX}, and the rest is not base64") from None
    if len(key) < _SHORTEST:
        raise ConfigError(f"the secret of the webhook has fewer than {_SHORTEST} bytes: openssl rand -base64 32")
    return key


class WebhookSink:
    """Sends each batch to this URL.

    The receiver answers 2xx once it has stored the batch. Redirects are not followed. Any other answer, and none, is a
    failure, after which the same records are sent again.
    """

    name: str = "audit_webhook"

    def __init__(self, url: str, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._host = urlsplit(url).hostname or ""
        self._secret = secret
        self._clock = clock
        self._client: httpx2.AsyncClient | None = None
        self._runner: asyncio.Runner | None = None  # of the thread that sends

    def send(self, lines: Sequence[Line]) -> None:
        """Send these, and wait for the answer."""
        import httpx2  # noqa: PLC0415 - see above

        body = b"".join(line.text + b"\n" for line in lines)
        headers = self._sign(f"audit-{lines[0].number}-{lines[-1].number}", body)
        try:
            # Attack: an answer of one byte a second. Each of them comes in time, but the last one never does.
            self._run(asyncio.wait_for(self._post(body, headers), SEND_SECONDS))
        except (httpx2.HTTPError, TimeoutError) as error:
            self.close()
            raise SinkError(failure(error, self._url)) from error

    def newest(self) -> tuple[int, bytes] | None:
        """The receiver is not asked."""
        return None

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(TimeoutError):
                self._run(asyncio.wait_for(client.aclose(), _CLOSE_SECONDS))
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this in the loop of the sink, which keeps the connection from batch to batch."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        self._runner.run(work)

    async def _post(self, body: bytes, headers: dict[str, str]) -> None:
        if self._client is None:
            self._client = async_http_client(follow_redirects=False, timeout=SEND_SECONDS / 2)
        async with self._client.stream("POST", self._url, content=body, headers=headers) as answer:
            await _read(answer)
        if not answer.is_success:
            raise SinkError(f"{self._host} answered {answer.status_code}", retry_after=_retry_after(answer))

    def _sign(self, name: str, body: bytes) -> dict[str, str]:
        at = str(int(self._clock()))
        signed = hmac.digest(self._secret, f"{name}.{at}.".encode() + body, sha256)
        return {
            "content-type": TYPE,
            "user-agent": "affiant",
            "webhook-id": name,
            "webhook-timestamp": at,
            "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
        }


async def _read(answer: httpx2.Response) -> None:
    """Read the body, which means nothing, so that the connection serves again; of a long one only the beginning."""
    size = 0
    async for chunk in answer.aiter_raw():
        size += len(chunk)
        if size > _LONGEST_BODY:
            return


def _retry_after(answer: Any) -> int | None:
    """Return the seconds of Retry-After (RFC 9110 section 10.2.3)."""
    text = next((value for name, value in answer.headers.items() if name == _RETRY_AFTER), "")
    if text.isascii() and text.isdigit():
        return int(text[:9])
    try:
        return max(0, int(parsedate_to_datetime(text).timestamp() - time.time()))
    except (ValueError, TypeError, OverflowError):
        return None
