"""The keys of clients that publish them at a `jwks_uri` (RFC 7591 section 2)."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass, replace

from affiant.errors.reasons import Reason
from affiant.server.registry import key_cache
from affiant.server.registry.credentials import keys as client_keys
from affiant.server.registry.credentials.keys import ClientKeys
from affiant.server.registry.directory import RegisteredClient
from affiant.server.registry.key_cache import Fetch, Kept, KeyCache, Loaded, Wanted
from affiant.storage.records import ClientKey

SOURCE = "jwks_uri"
Records = tuple[ClientKey, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """The key set of a client."""

    client_id: str
    uri: str

    @property
    def owner(self) -> str:
        return f"client {self.client_id}"

    @property
    def place(self) -> Hashable:
        return self.uri

    async def load(self, fetch: Fetch) -> Loaded[Records]:
        fetched = await fetch(self.uri)
        found = await key_cache.read(fetched.body, self.owner)
        records = []
        for key in found.keys:
            await asyncio.sleep(0)
            records.append(client_keys.build(key, now=0, source=SOURCE))
            client_keys.parse(records[-1].jwk)  # fills the cache, so that no request pays for it
        return Loaded(found, tuple(records), self.uri, fetched.max_age)


class RemoteKeys:
    """The fetched keys of all clients."""

    def __init__(self, fetch: Fetch | None = None) -> None:
        self._cache = KeyCache[Records](fetch)

    async def complete(self, client: RegisteredClient, wanted: Wanted, *, now: float) -> RegisteredClient:
        """Return the client with its published keys; unchanged if it has no jwks_uri.

        A set without the wanted key is fetched again, within the limits.
        """
        source = _source(client)
        if source is None:
            return client
        kept = await self._cache.get(source, wanted, now=now)
        observed = (Reason.JWKS_STALE,) if kept.is_old(now) else ()
        return replace(client, keys=_merge(client, kept.check(now), now), observed=observed)

    async def look_again(self, client: RegisteredClient, wanted: Wanted, *, now: float) -> RegisteredClient | None:
        """Fetch the set once more because none of its keys made a signature; None if it has no new key.

        The client may have replaced a key under its kid. These fetches share the limit of those for an unknown kid.
        """
        source = _source(client)
        kept = self._cache.find(source) if source is not None else None
        if kept is None:
            return None
        if kept.fetched_at < now:  # otherwise it was fetched for this request
            await self._cache.look_for(kept, wanted, now=now)
        if kept.loaded is None or not kept.has(wanted):
            return None
        return replace(client, keys=_merge(client, kept.loaded, now))

    async def renew(self, published: Published, *, now: float) -> Kept[Records]:
        """Fetch this set now, within the limits, and return what is kept of it."""
        return await self._cache.renew(published, now=now)

    def describe(self, client: RegisteredClient, *, now: float) -> str:
        """Return one line for the operator: the age of the kept set, and its members that are left out."""
        source = _source(client)
        kept = self._cache.find(source) if source is not None else None
        return kept.describe(now) if kept is not None else ""

    async def close(self) -> None:
        """Cancel the fetches in flight."""
        await self._cache.close()


def _source(client: RegisteredClient) -> Published | None:
    uri = client.record.jwks_uri
    return Published(client.client_id, uri) if uri is not None else None


def _merge(client: RegisteredClient, loaded: Loaded[Records], now: float) -> ClientKeys:
    """Return the fetched keys without those that were revoked here, even if the set still lists them."""
    revoked = {client_keys.thumbprint(key) for key in client.record.keys if client_keys.is_revoked(key, now)}
    return ClientKeys([key for key in loaded.form if client_keys.thumbprint(key) not in revoked])
