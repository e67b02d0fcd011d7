"""Follow the revocation feeds of other affiant servers: a revocation there ends tokens that were issued here.

A token that this server issues for one of theirs has the digests of its names in `parents`. Their feeds have the same
digests. This server stores each as a revocation of its own, and its own feed brings it to its guards.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from math import isfinite
from typing import Any

from affiant.errors import Rejected, StoreError
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.oauth import metadata, revocations
from affiant.oauth.parameters import jwks_uri
from affiant.oauth.revocations import Feed
from affiant.server.registry.federation.keys import TrustKeys
from affiant.server.registry.federation.known import KnownTrust
from affiant.server.registry.federation.sources import find_metadata
from affiant.server.registry.key_cache import Fetch
from affiant.storage.entries import LONGEST_TOKEN, AuditRecord, Entry, Revocation
from affiant.storage.ports import Store
from affiant.system.identifiers import new_trace_id
from affiant.system.single_flight import SingleFlight

log: logging.Logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between two fetches of a feed
CURRENT_SECONDS = 5.0  # age of a feed from which it is fetched again before a token of its server is taken
FOLLOWED_SECONDS = 60.0  # since the last fetch, after which a feed is followed no more: its trust was removed
METADATA_SECONDS = 300.0  # age of the metadata from which the address of a feed is read again
# Attack: a hostile server lists ever new revocations, until the feed of this server is too large for its guards.
MOST_A_DAY = 20_000
PIECE = 1000  # revocations of one commit


@dataclass(slots=True)
class _Followed:
    """The state of one server's feed; instants in seconds since the epoch."""

    url: str = ""
    named_at: float = float("-inf")  # when the metadata named the url
    until: float = 0.0  # when the last feed expires
    heard_at: float = float("-inf")  # when the last successful fetch began
    begun_at: float = float("-inf")  # when the last fetch began
    # The names in the last feed, each with its instant: they are revoked here too.
    kept: dict[str, int | None] = field(default_factory=dict)
    problem: str = ""  # why the last fetch failed
    day: int = 0
    added: int = 0  # on that day

    def count(self, number: int, now: int) -> None:
        """Count new revocations; raise ValueError if they are too many."""
        if now // LONGEST_TOKEN != self.day:
            self.day, self.added = now // LONGEST_TOKEN, 0
        self.added += number
        if self.added > MOST_A_DAY:
            raise ValueError(f"more than {MOST_A_DAY:,} revocations within a day")

    def is_current(self, now: float) -> bool:
        return -CURRENT_SECONDS <= now - self.heard_at <= CURRENT_SECONDS and now < self.until


class FollowedFeeds:
    """The feeds of the servers that a trust of the preset ``affiant`` names."""

    def __init__(
        self,
        keys: TrustKeys,
        fetch: Fetch | None,
        *,
        store: Store,
        clock: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._fetch = fetch
        self._store = store
        self._clock = clock
        self._known: dict[str, _Followed] = {}
        self._looks = SingleFlight[None]()

    async def check(self, trust: KnownTrust, claims: dict[str, Any], *, now: float) -> dict[str, Any]:
        """Return the entry of `parents` for a token with these claims; raise Rejected if its server revoked it.

        A token is refused, too, while the feed is not known: this server could not revoke what it issues for it.
        """
        try:
            parent = revocations.foreign_parent(claims, trust.record.issuer)
        except ValueError as error:
            raise Rejected(Reason.TRUST_FEED, detail=f"trust {trust.name}: {error}") from None
        await self._check_unrevoked(trust, parent)
        # explain fetches nothing, and issues nothing.
        if self._fetch is not None and not self._find(trust).is_current(now):
            await self._refresh(trust, now)
            await self._check_unrevoked(trust, parent)
        return parent

    async def _check_unrevoked(self, trust: KnownTrust, parent: dict[str, Any]) -> None:
        # Attack: an old feed is replayed. The revocations of newer ones are in the store, and stay there.
        named = revocations.named({"parents": [parent]})
        rows = await self._store.revocations.find([name for name in named if name[0] == revocations.FOREIGN])
        if any(row.at >= named[row.kind, row.value] for row in rows):
            raise Rejected(Reason.TRUST_REVOKED, detail=f"trust {trust.name}")

    async def look(self, trusts: Iterable[KnownTrust]) -> None:
        """Fetch the feeds of these trusts, and store their revocations here."""
        if self._fetch is None:
            return
        wanted = [trust for trust in trusts if trust.follows and trust.record.enabled]
        await asyncio.gather(*(self._looks.run(partial(self._look, trust), key=trust.name) for trust in wanted))

    async def _refresh(self, trust: KnownTrust, now: float) -> None:
        followed = self._find(trust)
        # Twice: a fetch that was in flight already may be too old when it ends.
        for _ in range(2):
            has_failed = bool(followed.problem) and 0 <= now - followed.begun_at < LOOK_SECONDS
            if followed.is_current(now) or has_failed:
                break
            await self._looks.run(partial(self._look, trust), key=trust.name)
        if not followed.is_current(now):
            raise Rejected(Reason.TRUST_FEED, detail=f"trust {trust.name}: {followed.problem}"[:256])

    def states(self) -> dict[str, tuple[float | None, bool]]:
        """Return of each feed that is followed now, by trust: its age in seconds, if it is known; whether it fails."""
        now = self._clock()
        return {
            name.rpartition(" ")[0]: (now - one.heard_at if isfinite(one.heard_at) else None, bool(one.problem))
            for name, one in self._known.items()
            if now - one.begun_at < FOLLOWED_SECONDS
        }

    async def close(self) -> None:
        """Cancel the fetches in flight."""
        await self._looks.close()

    def _find(self, trust: KnownTrust) -> _Followed:
        return self._known.setdefault(f"{trust.name} {trust.record.issuer}", _Followed())

    async def _look(self, trust: KnownTrust) -> None:
        followed = self._find(trust)
        begun_at = followed.begun_at = self._clock()
        try:
            latest = await self._read(trust, followed)
            await self._keep(trust, followed, latest)
        except (Rejected, ValueError) as error:
            if not followed.problem:
                log.warning("the revocations of trust %s are not known, its tokens are refused: %s", trust.name, error)
            followed.problem = str(error)
            return
        except StoreError:
            raise
        except Exception:
            log.exception("the revocations of trust %s are not known, its tokens are refused", trust.name)
            followed.problem = "the fetch failed unexpectedly"
            return
        # Order: after the commit. If it fails, the feed is not current, and tokens of its server are refused.
        followed.until, followed.heard_at, followed.problem = latest.expires_at, begun_at, ""

    async def _read(self, trust: KnownTrust, followed: _Followed) -> Feed:
        now = self._clock()
        assert self._fetch is not None  # noqa: S101 - its callers have looked
        if not 0 <= now - followed.named_at < METADATA_SECONDS:
            followed.url, followed.named_at = await self._discover(trust, self._fetch), now
        fetched = await self._fetch(followed.url, ca=trust.record.ca)
        # On a thread: it may be large, and tokens are issued here.
        unverified = await asyncio.to_thread(compact.parse, fetched.body.decode("ascii"), limit=revocations.MAX_BYTES)
        _, verified = await self._keys.verify([trust], unverified, now=now)
        return revocations.verify(verified, issuer=trust.record.issuer, now=now)

    async def _discover(self, trust: KnownTrust, fetch: Fetch) -> str:
        """Return the address of the feed; only the issuer's own metadata name it."""
        for url in find_metadata(trust.record):
            found = metadata.parse((await fetch(url, ca=trust.record.ca)).body, issuer=trust.record.issuer)
            if found.revocations_uri is not None:
                return jwks_uri.parse(found.revocations_uri)
        raise ValueError("its metadata have no revocations_uri: it is no affiant server")

    async def _keep(self, trust: KnownTrust, followed: _Followed, latest: Feed) -> None:
        """Store the revocations of this feed that are new here."""
        now = int(self._clock())
        named = dict(revocations.foreign_entries(latest, trust.record.issuer))
        new = {name: at for name, at in named.items() if _is_new(name, at, followed.kept)}
        for piece in _pieces(new.items()):
            rows = await self._store.revocations.find([(revocations.FOREIGN, name) for name, _ in piece])
            stored: dict[str, int | None] = {row.value: row.at for row in rows}
            wanted = [(name, now if at is None else at) for name, at in piece if _is_new(name, at, stored)]
            if wanted:
                followed.count(len(wanted), now)
                await self._store.ledger.claim(_entry(trust, wanted, now))
        followed.kept = named


def _is_new(name: str, at: int | None, known: dict[str, int | None]) -> bool:
    before = known.get(name)
    return name not in known or (at is not None and before is not None and before < at)


def _entry(trust: KnownTrust, wanted: list[tuple[str, int]], now: int) -> Entry:
    record = AuditRecord(
        at=now,
        trace_id=new_trace_id(),
        endpoint="feed",
        outcome="revoked",
        issuer=trust.record.issuer,
        subject=f"trust {trust.name}",
        detail=f"{len(wanted)} revocations of its feed",
    )
    ended = tuple(Revocation(revocations.FOREIGN, name, at, now + LONGEST_TOKEN) for name, at in wanted)
    return Entry(record, revocations=ended)


def _pieces(items: Iterable[tuple[str, int | None]]) -> Iterator[list[tuple[str, int | None]]]:
    rest = iter(items)
    while piece := list(islice(rest, PIECE)):
        yield piece
