"""The ports: what every store promises. The contract suite (tests/contract) races each promise on each adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from affiant.storage.entries import AuditHead, AuditRow, Entry, Outcome, RefreshToken, Revocation
from affiant.storage.records import KeyUse
from affiant.storage.registry import Apis, Clients, InitialAccessTokens, Settings, SigningKeys, Tables, Tell

__all__ = [
    "Apis",
    "AuditLog",
    "Clients",
    "InitialAccessTokens",
    "KeyUses",
    "Ledger",
    "RefreshTokens",
    "Revocations",
    "Settings",
    "SigningKeys",
    "Store",
    "Tables",
    "Tell",
]


class KeyUses(Protocol):
    """Which credentials are in use. Told now and then by each worker, so a crash forgets the last moments."""

    async def add(self, uses: Sequence[KeyUse]) -> None:
        """Add these to what is counted already; one credential may stand among them more than once."""

    async def list(self, *client_ids: str) -> list[KeyUse]:
        """The uses of these clients' credentials."""


class RefreshTokens(Protocol):
    """Refresh tokens; they are made, rotated and ended in the ledger's commits."""

    async def find(self, digest: bytes) -> RefreshToken | None:
        """The token of this digest, spent or not."""

    async def list(self, client_id: str | None = None, *, after: bytes = b"", limit: int = 100) -> list[RefreshToken]:
        """Those whose digests follow this one, by digest; of this client, where one is named."""


class Revocations(Protocol):
    """The access tokens that end before their time; they are revoked through the ledger."""

    async def find(self, names: Sequence[tuple[str, str]]) -> list[Revocation]:
        """Those of these (kind, value) that stand."""

    async def list(self, now: int, *, after: Revocation | None = None, limit: int | None = None) -> list[Revocation]:
        """Revocations of tokens that have not expired at this instant, the newest first, after this one."""

    async def mark(self, now: int) -> str:
        """A text for what `list` has at this instant: another one whenever one of them was added or prolonged.

        Quick to get, however many have ended.
        """


class Ledger(Protocol):
    """Where decisions become facts."""

    async def claim(self, entry: Entry) -> Outcome:
        """Claim the jti, apply the refresh change and append the audit record, in one durable commit.

        Of any number of entries with one (client, digest), from tasks, threads, processes or before a crash, exactly
        one gets FIRST while the claim lives. Whoever loses the jti changes nothing else; whoever loses the refresh
        token has used up its jti, and a token that comes back after it was spent ends its family. Both are written
        down as refused. One refresh token never gets two successors. The call returns after the commit is durable.

        To end refresh tokens takes as long for a million as for one. All that fit, and whose family began before, have
        ended with the commit; a family that begins in a later commit lives, whatever the clocks say.

        Raises:
            StoreError: nothing is known to be committed; nothing may be issued.
        """

    async def find_claim(self, client_id: str, digest: bytes) -> int | None:
        """The second until which this jti of this client stays claimed, or None; it changes nothing."""

    async def purge(self, before: int, *, limit: int = 100) -> int:
        """Delete at most `limit` claims that ended before this instant, and as many refresh tokens; how many went.

        The end of the last one that was deleted is remembered: no claim that ends then or earlier is ever FIRST again,
        so that a clock that ran ahead, and deleted what lives, makes nothing usable twice.

        Refresh tokens go KEPT_SECONDS after their family's last day. One of a family that lives stays, however old: one
        that was spent betrays who stole it. A revocation goes as long after the last token that it ended.

        0 where several nodes share the store and this is another's work.

        After a commit failed, it fails too until PROBE_BYTES were written: until the store really takes commits again.
        """


class AuditLog(Protocol):
    """The audit records, in the order of their commits, each chained to the one before under the store's audit key.

    Their numbers are 1, 2, 3 and so on; a number is never given twice, whatever is deleted.
    """

    async def find(self, trace_id: str) -> dict[str, Any] | None:
        """The record of this request."""

    async def export(self, *, after: int | None = None, limit: int = 1000) -> list[AuditRow]:
        """The next records after this number; None begins before every number, those that nobody gave too."""

    async def newest(self, *, before: int | None = None, limit: int = 1000) -> list[AuditRow]:
        """The last records before this number, or of all; the newest first."""

    async def head(self) -> AuditHead:
        """Where the log ends; number 0 and GENESIS when it is empty."""


class Store(Protocol):
    """All ports of one store. Clients to Settings are made of a store's Tables; the others it implements itself."""

    clients: Clients
    apis: Apis
    initial_access_tokens: InitialAccessTokens
    signing_keys: SigningKeys
    settings: Settings
    key_uses: KeyUses
    revocations: Revocations
    refresh_tokens: RefreshTokens
    ledger: Ledger
    audit_log: AuditLog

    async def open(self) -> None:
        """Make it ready, with its schema up to date.

        Raises:
            ConfigError: it cannot be opened, and why.
        """

    async def close(self) -> None:
        """Finish what was begun."""

    async def version(self) -> int:
        """A number that changes whenever a client, an API or a signing key changes, whoever changed it."""
