"""A fetcher that imports its HTTP client at the first fetch: few servers make one."""

from __future__ import annotations

import asyncio
from importlib import import_module

from affiant.server.registry.addresses import Allowed
from affiant.server.registry.key_cache import Fetch, Fetched


class LateFetcher:
    """A Fetcher that is imported when the first client or trust needs it."""

    def __init__(self, allowed: Allowed, kind: str = "JSON") -> None:
        self.allowed: Allowed = allowed
        self._kind = kind
        self._fetch: Fetch | None = None

    async def __call__(self, uri: str, *, ca: str | None = None) -> Fetched:
        if self._fetch is None:
            # On a thread: the event loop issues tokens during the import.
            module = await asyncio.to_thread(import_module, "affiant.server.registry.fetch")
            self._fetch = module.Fetcher(self.allowed, kind=getattr(module, self._kind))
        return await self._fetch(uri, ca=ca)
