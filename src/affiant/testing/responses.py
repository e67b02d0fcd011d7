"""What a fake issuer answers the guards that it has taken over: HTTP without a network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from urllib.parse import parse_qs

import httpx2

from affiant.oauth import introspection, metadata, revocations
from affiant.resource import Guard
from affiant.resource.issuer.flight import arrive
from affiant.resource.issuer.trust import Trusted
from affiant.testing.published import Published

_KEYS_CONTROL = "max-age=300"  # seconds for which a guard uses the keys without asking again
_DELIVERY_SECONDS, _LOOK_SECONDS = 30.0, 0.2

Answer = Callable[[httpx2.Request], Awaitable[httpx2.Response]]


class Lines:
    """The requests of one guard. Calling it answers one, as a handler of httpx2.MockTransport."""

    def __init__(self, published: Published) -> None:
        self._published = published
        self._lines = list[Line]()
        self._answers = dict[str, Answer]()  # by URL

    @contextmanager
    def replace(self, guard: Guard) -> Iterator[list[Trusted]]:
        """Let the guard ask here, and go by the clock of the issuer, for as long as the context lasts."""
        # The variables of the environment may name a proxy.
        http = partial(httpx2.AsyncClient, transport=httpx2.MockTransport(self), trust_env=False)
        with guard.unsafe_replaced(http=http, clock=self._published.clock, replays=None) as trusted:
            self._lines = [Line(self._published, one) for one in trusted]
            self._answers = {url: answer for line in self._lines for url, answer in line.answers().items()}
            yield trusted

    def deliver(self) -> None:
        """Wait until the guard knows the newest revocations, if it follows them."""
        for line in self._lines:
            line.deliver()

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        answer = self._answers.get(str(request.url.copy_with(query=None)))
        return httpx2.Response(httpx2.codes.NOT_FOUND) if answer is None else await answer(request)


class Line:
    """The requests of one guard to one of its issuers."""

    def __init__(self, published: Published, trusted: Trusted) -> None:
        self._published, self._trusted = published, trusted
        self._issuer = trusted.accepted.issuer
        self._has = -1  # the version of the feed that the guard has

    def answers(self) -> dict[str, Answer]:
        """Return what answers at each URL."""
        documents = dict.fromkeys(metadata.urls(self._issuer), self._metadata)
        endpoints = {"jwks": self._jwks, "revocations": self._feed, "introspect": self._introspect}
        named = documents | {self._url(path): answer for path, answer in endpoints.items()}
        return {str(httpx2.URL(url)): answer for url, answer in named.items()}

    def deliver(self) -> None:
        published, limit = self._published, time.monotonic() + _DELIVERY_SECONDS
        while self._trusted.revocations.follow() and published.is_up and self._has < published.version:
            if time.monotonic() > limit:
                raise TimeoutError(f"the guard took no feed of revocations for {_DELIVERY_SECONDS:.0f} s")
            with published.asked:
                published.asked.wait_for(lambda: self._has >= published.version, _LOOK_SECONDS)

    def _url(self, path: str) -> str:
        return f"{self._issuer.rstrip('/')}/{path}"

    def _check(self) -> None:
        """Raise what a guard sees of an issuer that is down."""
        if not self._published.is_open:
            # The test is over. Its guard would ask for ever, since its clock has stopped: end the task that asks.
            raise asyncio.CancelledError
        if not self._published.is_up:
            raise httpx2.ConnectError("the fake issuer is down")

    async def _metadata(self, _: httpx2.Request) -> httpx2.Response:
        self._check()
        paths = {"jwks_uri": "jwks", "revocations_uri": "revocations", "introspection_endpoint": "introspect"}
        endpoints = {name: self._url(path) for name, path in paths.items()}
        return httpx2.Response(httpx2.codes.OK, json={"issuer": self._issuer, **endpoints})

    async def _jwks(self, _: httpx2.Request) -> httpx2.Response:
        self._check()
        keys = [key.public().to_jwk() for key in self._published.keys]
        return httpx2.Response(httpx2.codes.OK, json={"keys": keys}, headers={"cache-control": _KEYS_CONTROL})

    async def _feed(self, request: httpx2.Request) -> httpx2.Response:
        published, known = self._published, request.headers.get("if-none-match")
        if "wait" in request.url.params:
            await self._listen(known, seconds=float(request.url.params["wait"]))
        self._check()
        version, now = published.version, int(published.clock)
        if known == f'"{version}"':
            return httpx2.Response(httpx2.codes.NOT_MODIFIED, headers={"etag": known})
        # The oldest key signs: guards know it, and need not ask for keys first.
        text = await revocations.build(published.revoked, issuer=self._issuer, now=now, signer=published.keys[0])
        return httpx2.Response(httpx2.codes.OK, text=text, headers={"etag": f'"{version}"'})

    async def _listen(self, known: str | None, *, seconds: float) -> None:
        """Wait for a change. While the issuer is down nothing comes back, as from a network that is gone."""
        published, limit = self._published, time.monotonic() + seconds
        if known is not None:
            with published.asked:
                self._has = int(known.strip('"'))
                published.asked.notify_all()
        while published.is_open:
            changed = published.changed
            if published.is_up and (known != f'"{published.version}"' or time.monotonic() >= limit):
                return
            await arrive(changed, seconds=max(0.0, limit - time.monotonic()) if published.is_up else seconds)

    async def _introspect(self, request: httpx2.Request) -> httpx2.Response:
        self._check()
        published, introspected = self._published, self._trusted.introspected
        members = published.introspect(parse_qs(request.content.decode()).get("token", [""])[0])
        if introspected is None:
            return httpx2.Response(httpx2.codes.OK, json=members)
        now, signer, audience = published.clock.now, published.keys[0], introspected.client_id
        text = await introspection.build(members, issuer=self._issuer, audience=audience, now=now, signer=signer)
        return httpx2.Response(httpx2.codes.OK, text=text, headers={"content-type": introspection.MEDIA_TYPE})
