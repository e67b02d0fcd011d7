"""The issuer's keys: fetched when needed, kept, and fetched again when a token names one that is not known."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING

from affiant.errors import ConfigError, Error, Rejected, RemoteError, Unreachable
from affiant.jose.key_set import KeySet
from affiant.jose.strict_json import parse_object
from affiant.oauth import metadata, names
from affiant.oauth.metadata import well_known_url
from affiant.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from affiant.jose.keys import PublicKey

log = logging.getLogger(__name__)

MAX_BYTES = 262_144
TIMEOUT_SECONDS = 3.0
LEAST_SECONDS, MOST_SECONDS = 300.0, 86_400.0  # within which the issuer's max-age is believed
STALE_SECONDS = 86_400.0  # how long known keys serve while the issuer is away
BURST, REFILL_SECONDS = 3.0, 10.0  # fetches for unknown kids: a storm of them must not become one of fetches
_OK, _NOT_FOUND = 200, 404


class IssuerKeys:
    """The keys of one issuer.

    Attributes:
        edition: a number that changes when the keys do.
    """

    def __init__(self, issuer: str, *, http: httpx2.AsyncClient | None, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._http = http
        self._clock = clock
        self._keys: KeySet | None = None
        self.edition = 0
        self._jwks_uri: str | None = None
        self._fetched_at = float("-inf")
        self._fresh_until = float("-inf")
        self._tokens, self._refilled_at = BURST, clock()
        self._flights: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}

    async def find(self, kid: str | None, alg: str) -> tuple[PublicKey, ...]:
        """The keys that may have signed: the one of this kid, or every fitting one where the token names none.

        Raises:
            Rejected: TOKEN_KEY.
            Unreachable: no key is known, and the issuer does not answer.
        """
        await self.refresh()
        # An unknown kid may be a new key; a known one is never kept waiting by unknown ones.
        found = self._candidates(kid, alg) or await self._look_again(kid, alg)
        if not found:
            raise Rejected(Reason.TOKEN_KEY)
        return found

    async def refresh(self) -> None:
        """Fetch the keys if the copy is too old.

        Raises:
            Unreachable: no key is known, or none is young enough, and the issuer does not answer.
        """
        now = self._clock()
        if self._keys is None or now >= self._fresh_until:
            await self._renew(now)

    async def _look_again(self, kid: str | None, alg: str) -> tuple[PublicKey, ...]:
        now, paid = self._clock(), False
        found: tuple[PublicKey, ...] = ()
        if self._is_fetching():  # begun before this token came: perhaps before its key was published
            await self._renew(now)
            found = self._candidates(kid, alg)
        if not found and not self._is_fetching():
            if not self._may_fetch(now):
                return ()
            paid = True
        if not found:
            await self._renew(now)
            found = self._candidates(kid, alg)
        if found and paid:
            self._tokens += 1  # only the issuer can bring a new key about: its rotations are no storm
        return found

    def _is_fetching(self) -> bool:
        return asyncio.get_running_loop() in self._flights

    def _candidates(self, kid: str | None, alg: str) -> tuple[PublicKey, ...]:
        if self._keys is None:
            return ()
        if kid is None:
            return self._keys.candidates(alg)
        key = self._keys.find(kid)
        return (key,) if key is not None else ()

    def _may_fetch(self, now: float) -> bool:
        self._tokens = min(BURST, self._tokens + (now - self._refilled_at) / REFILL_SECONDS)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def _renew(self, now: float) -> None:
        loop = asyncio.get_running_loop()
        flight = self._flights.get(loop)
        if flight is None:
            flight = self._flights[loop] = asyncio.create_task(self._fetch(now))
            flight.add_done_callback(lambda _: self._flights.pop(loop, None))
        try:
            await asyncio.shield(flight)
        except Error as error:
            if self._keys is None or now - self._fetched_at > STALE_SECONDS:
                raise
            log.warning("the keys of %s cannot be fetched, those known serve on: %s", self._issuer, error)
            self._fresh_until = now + REFILL_SECONDS

    async def _fetch(self, now: float) -> None:
        import httpx2  # noqa: PLC0415 - an API without guarded calls never loads it

        try:
            if self._http is not None:
                age = await self._read(self._http)
            else:
                # A client for each fetch: fetches are rare, and a kept one would belong to one event loop.
                async with httpx2.AsyncClient() as http:
                    age = await self._read(http)
        except (httpx2.TransportError, TimeoutError) as error:
            raise Unreachable(f"{self._issuer} cannot be reached: {error}") from None
        except (ConfigError, ValueError) as error:
            raise RemoteError(f"{self._issuer}: {error}") from None
        self._fetched_at, self._fresh_until = now, now + age

    async def _read(self, http: httpx2.AsyncClient) -> float:
        if self._jwks_uri is None:
            self._jwks_uri = await self._discover(http)
        status, body, age = await self._get(http, self._jwks_uri)
        if status != _OK:
            raise RemoteError(f"{self._jwks_uri} answered {status}")
        fetched = KeySet.parse(parse_object(body))
        if fetched != self._keys:
            self._keys, self.edition = fetched, self.edition + 1
        return age

    async def _discover(self, http: httpx2.AsyncClient) -> str:
        status, body, _ = await self._get(http, well_known_url(self._issuer))
        if status == _NOT_FOUND:
            status, body, _ = await self._get(http, self._issuer + names.WELL_KNOWN_OPENID)
        if status != _OK:
            raise RemoteError(f"the metadata of {self._issuer} answered {status}")
        return metadata.parse(body, issuer=self._issuer).jwks_uri

    async def _get(self, http: httpx2.AsyncClient, url: str) -> tuple[int, bytes, float]:
        async with http.stream("GET", url, follow_redirects=False, timeout=TIMEOUT_SECONDS) as response:
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise RemoteError(f"{url} answered with more than {MAX_BYTES} bytes")
            return response.status_code, body, _age(response.headers.get("cache-control", ""))


def _age(cache_control: str) -> float:
    found = re.search(r"max-age=(\d{1,9})", cache_control)
    return min(max(float(found[1]) if found else LEAST_SECONDS, LEAST_SECONDS), MOST_SECONDS)
