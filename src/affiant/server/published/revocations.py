"""GET /revocations: the tokens that were revoked, for guards that verify tokens without introspection."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from affiant.errors import ConfigError, StoreError
from affiant.jose import base64url
from affiant.oauth import names
from affiant.oauth import revocations as feed
from affiant.server.published.public import is_known
from affiant.server.registry.directory import Directory
from affiant.storage.ports import Revocations
from affiant.system.single_flight import SingleFlight
from affiant.system.values import Value

LONGEST_WAIT = 25  # seconds for which an answer may be held back
MAX_WAITING = 1000  # requests that wait in one worker, unless its connections are fewer
LOOK_SECONDS = 0.5  # between two looks at the store while requests wait
FRESH_SECONDS = 0.1  # for which an edition is used without a look at the store
SHARE = 0.1  # of a worker's time for making the feed: an edition of a large feed is used for longer,
MOST_SECONDS = 5.0  # but no longer than this
KEPT_SECONDS = 300  # that an entry outlives its tokens: guards allow for clocks that differ
_SECONDS = re.compile(r"[0-9]{1,3}")


class _Edition(Value, frozen=True):
    """One state of the feed."""

    etag: str
    body: bytes


class RevocationFeed:
    """Answers with the feed, at once or when it changes."""

    def __init__(
        self,
        directory: Directory,
        revocations: Revocations,
        *,
        issuer: str,
        clock: Callable[[], float],
        max_waiting: int = MAX_WAITING,
        fresh_seconds: float | None = None,
    ) -> None:
        self._max_waiting = max_waiting
        self._fresh_seconds = fresh_seconds
        self._directory = directory
        self._revocations = revocations
        self._issuer = issuer
        self._clock = clock
        self._edition: _Edition | None = None
        self._fresh_until = float("-inf")
        self._looks = SingleFlight[_Edition]()
        self._waiting = 0
        self._watch: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._is_over = False

    def metadata(self) -> dict[str, Any]:
        return {"revocations_uri": f"{self._issuer}/revocations"}  # a member of ours, as RFC 8414 section 2 allows

    async def show(self, request: Request) -> Response:
        """Answer with the feed; to a reader that has it, when it changes, or with 304 after `wait` seconds."""
        try:
            edition = await self._look()
            if is_known(request, edition.etag) and (seconds := _wait(request)):
                await self._wait(request, seconds)
                edition = await self._look()
        except (StoreError, ConfigError):
            return JSONResponse({"error": "temporarily_unavailable"}, 503, {"Retry-After": "1"})
        # Danger: a cache that serves an old copy would un-revoke tokens, so each use is revalidated.
        headers = {"Cache-Control": "public, no-cache", "ETag": edition.etag}
        if is_known(request, edition.etag):
            return Response(status_code=304, headers=headers)
        return Response(edition.body, media_type=f"application/{names.REVOCATIONS_TYP}", headers=headers)

    def stop(self) -> None:
        """Answer all waiting requests, and let no other wait: the process is about to end."""
        self._is_over = True
        self._news.set()

    async def _wait(self, request: Request, seconds: int) -> None:
        """Return when the feed changes, the time is over, or the reader disconnects."""
        if self._waiting >= self._max_waiting or self._is_over:
            return
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_store(self._edition))
        waits = [asyncio.create_task(self._news.wait()), asyncio.create_task(_gone(request))]
        self._waiting += 1
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting -= 1
            for task in waits:
                task.cancel()

    async def _watch_store(self, known: _Edition | None) -> None:
        """Look for all waiting requests until none is left; if the store fails, each of them finds out by itself."""
        try:
            with contextlib.suppress(StoreError, ConfigError):
                # Other processes change the feed without a message.
                while await self._look() is known and self._waiting and not self._is_over:  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._watch = None
            self._news.set()
            self._news = asyncio.Event()

    async def _look(self) -> _Edition:
        """Return the feed as it is now; concurrent requests share one look."""
        if self._edition is not None and time.monotonic() < self._fresh_until:
            return self._edition
        return await self._looks.run(self._renew)

    async def _renew(self) -> _Edition:
        begun_at = time.monotonic()
        await self._directory.refresh()
        signer, period = self._directory.signer, int(self._clock()) // feed.PERIOD * feed.PERIOD
        # Order: the mark before the rows. A revocation between the two is in this edition, and changes the next mark.
        mark = await self._revocations.mark(period - KEPT_SECONDS)
        etag = _etag(self._issuer, mark, signer.kid or "", str(period))
        rest = 0.0
        if self._edition is None or self._edition.etag != etag:
            made_at = time.monotonic()
            rows = await self._revocations.list(period - KEPT_SECONDS)
            revoked = [(row.kind, row.value, row.at) for row in rows]
            body = await feed.build(revoked, issuer=self._issuer, now=period, signer=signer)
            self._edition = _Edition(etag, body.encode("ascii"))
            rest = min((time.monotonic() - made_at) * (1 / SHARE - 1), MOST_SECONDS)
        wished = FRESH_SECONDS if self._fresh_seconds is None else self._fresh_seconds
        self._fresh_until = begun_at + max(wished, rest)
        return self._edition


def _etag(*parts: str) -> str:
    # Weak: all nodes send the same members, each with a signature of its own (RFC 9110 section 8.8.1).
    return f'W/"{base64url.encode(sha256(chr(0).join(parts).encode()).digest()[:12])}"'


def _wait(request: Request) -> int:
    value = request.query_params.get("wait", "")
    return min(int(value), LONGEST_WAIT) if _SECONDS.fullmatch(value) else 0


async def _gone(request: Request) -> None:
    """Return when the reader disconnects; at once for a request with a body, which is not read here."""
    message = await request.receive()
    while message["type"] != "http.disconnect" and not message.get("body"):
        message = await request.receive()
