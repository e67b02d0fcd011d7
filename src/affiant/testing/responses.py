"""What a fake issuer answers the guards that it has taken over: HTTP without a network."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import httpx2

from affiant.jose.keys import PrivateKey
from affiant.oauth import introspection, revocations
from affiant.resource import Guard
from affiant.resource.issuer.flight import arrive
from affiant.resource.issuer.trust import Trusted
from affiant.testing.clock import Clock

_KEYS_CONTROL = "max-age=300"  # seconds for which a guard uses the keys without asking again
_DELIVERY_SECONDS, _LOOK_SECONDS = 30.0, 0.2


class Published:
    """The state of a fake issuer. The thread of a test changes it, and that of the guards reads it."""

    def __init__(self, issuer: str, clock: Clock) -> None:
        self.issuer, self.clock = issuer, clock
        self.keys = list[PrivateKey]()  # the last one signs
        self.minted = dict[str, dict[str, Any]]()  # the claims of each token, for introspection
        self.revoked = list[tuple[str, str, int]]()  # kind, value, at
        self.is_up = self.is_open = True
        self.version = 0  # of all of it
        self.changed = Future[None]()  # done when the version is another one
        self.asked = threading.Condition()

    def change(self) -> None:
        """Wake the requests that wait for a change."""
        # Order: a request that sees the new future sees the new version, too.
        self.version += 1
        last, self.changed = self.changed, Future[None]()
        last.set_result(None)

    def introspect(self, token: str) -> dict[str, Any]:
        """Return the members of RFC 7662 section 2.2."""
        claims = self.minted.get(token)
        if claims is None or claims.get("exp", 0) <= self.clock.now or self._is_revoked(claims):
            return {"active": False}
        return {"active": True, **claims}

    def _is_revoked(self, claims: dict[str, Any]) -> bool:
        names = revocations.named(claims)
        return any((kind, value) in names and revocations.ends(kind, at, claims) for kind, value, at in self.revoked)


class Line:
    """The requests of one guard to a fake issuer. Calling it answers one, as a handler of httpx2.MockTransport."""

    def __init__(self, published: Published) -> None:
        self._published = published
        self._trusted: Trusted
        self._has = -1  # the version of the feed that the guard has

    @contextmanager
    def replace(self, guard: Guard) -> Iterator[Trusted]:
        """Let the guard ask here, and go by the clock of the issuer, for as long as the context lasts."""
        # The variables of the environment may name a proxy.
        http = partial(httpx2.AsyncClient, transport=httpx2.MockTransport(self), trust_env=False)
        options = {"http": http, "clock": self._published.clock, "replays": None}
        with guard.unsafe_replaced(**options) as self._trusted:
            yield self._trusted

    def deliver(self) -> None:
        """Wait until the guard knows the newest revocations, if it follows them."""
        published, limit = self._published, time.monotonic() + _DELIVERY_SECONDS
        while self._trusted.revocations.follow() and published.is_up and self._has < published.version:
            if time.monotonic() > limit:
                raise TimeoutError(f"the guard took no feed of revocations for {_DELIVERY_SECONDS:.0f} s")
            with published.asked:
                published.asked.wait_for(lambda: self._has >= published.version, _LOOK_SECONDS)

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        published, path = self._published, request.url.path
        if path.endswith("/revocations"):
            return await self._feed(request)
        self._check()
        if "/.well-known/" in path:
            return httpx2.Response(httpx2.codes.OK, json=self._metadata())
        if path.endswith("/jwks"):
            keys = [key.public().to_jwk() for key in published.keys]
            return httpx2.Response(httpx2.codes.OK, json={"keys": keys}, headers={"cache-control": _KEYS_CONTROL})
        if path.endswith("/introspect"):
            return await self._introspect(request)
        return httpx2.Response(httpx2.codes.NOT_FOUND)

    def _check(self) -> None:
        """Raise what a guard sees of an issuer that is down."""
        if not self._published.is_open:
            # The test is over. Its guard would ask for ever, since its clock has stopped: end the task that asks.
            raise asyncio.CancelledError
        if not self._published.is_up:
            raise httpx2.ConnectError("the fake issuer is down")

    def _metadata(self) -> dict[str, str]:
        issuer = self._published.issuer
        base = issuer.rstrip("/")
        endpoints = {"jwks_uri": "jwks", "revocations_uri": "revocations", "introspection_endpoint": "introspect"}
        return {"issuer": issuer, **{name: f"{base}/{path}" for name, path in endpoints.items()}}

    async def _feed(self, request: httpx2.Request) -> httpx2.Response:
        published, known = self._published, request.headers.get("if-none-match")
        if "wait" in request.url.params:
            await self._listen(known, seconds=float(request.url.params["wait"]))
        self._check()
        version, now = published.version, int(published.clock)
        if known == f'"{version}"':
            return httpx2.Response(httpx2.codes.NOT_MODIFIED, headers={"etag": known})
        # The oldest key signs: guards know it, and need not ask for keys first.
        signer = published.keys[0]
        text = await revocations.build(published.revoked, issuer=published.issuer, now=now, signer=signer)
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
        published, introspected = self._published, self._trusted.introspected
        token = parse_qs(request.content.decode()).get("token", [""])[0]
        members = published.introspect(token)
        if introspected is None:
            return httpx2.Response(httpx2.codes.OK, json=members)
        signed = await introspection.build(
            members,
            issuer=published.issuer,
            audience=introspected.client_id,
            now=published.clock.now,
            signer=published.keys[0],
        )
        return httpx2.Response(httpx2.codes.OK, text=signed, headers={"content-type": introspection.MEDIA_TYPE})
