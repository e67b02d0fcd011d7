"""The ports: what every store promises. tests/contract races each promise on each store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from affiant.storage.console import Cloned, Passkeys, Sessions, SignInLinks, TooMany, Users
from affiant.storage.entries import AuditBase, AuditHead, AuditRow, Entry, Outcome, RefreshToken, Revocation, Sought
from affiant.storage.history.counts import Count, Selection, Total
from affiant.storage.history.cursors import Cursor
from affiant.storage.history.sizes import Sizes
from affiant.storage.records import KeyUse
from affiant.storage.registry import (
    Apis,
    Audit,
    Clients,
    InitialAccessTokens,
    Rules,
    Settings,
    SigningKeys,
    Tables,
    Teams,
    Trusts,
)

__all__ = [
    "Apis",
    "Audit",
    "AuditLog",
    "Clients",
    "Cloned",
    "Counts",
    "Cursors",
    "InitialAccessTokens",
    "KeyUses",
    "Ledger",
    "Passkeys",
    "RefreshTokens",
    "Revocations",
    "Rules",
    "Sessions",
    "Settings",
    "SignInLinks",
    "SigningKeys",
    "Store",
    "Tables",
    "Teams",
    "TooMany",
    "Trusts",
    "Users",
]


class KeyUses(Protocol):
    """How often clients use their credentials. Workers add now and then: a crash loses the last moments."""

    async def add(self, uses: Sequence[KeyUse]) -> None:
        """Add to the stored counts; one credential may occur more than once."""

    async def list(self, *client_ids: str) -> list[KeyUse]:
        """The uses of these clients' credentials."""


class Counts(Protocol):
    """How often something happened, by minute, hour and day. Workers and nodes add; a crash loses the last second."""

    async def add(self, counts: Sequence[Count]) -> None:
        """Add to the stored counts; one of them may occur more than once.

        Counts of a client that is not registered, or no longer, are left out: no stranger makes a row.

        Raises:
            StoreError: the counts may have been added or not.
        """

    async def totals(self, selection: Selection) -> list[Total]:
        """The sums over the time of a selection, by client, kind and label."""

    async def clients(self, selection: Selection) -> int:
        """How many clients have a count among those that `top` searches."""

    async def top(self, selection: Selection, limit: int) -> list[Total]:
        """The clients with the highest sums over the time, kinds and labels of a selection, at most `limit`.

        The selection's `client_ids` count for nothing, and a Total here has no kind and no label. The newest
        TOP_ROWS counts are searched: the cost has a bound, however many clients there are.
        """

    async def purge(self, now: int, *, limit: int = 100) -> int:
        """Delete counts that were kept for long enough, at most `limit` of each unit; return how many."""

    async def list(self, selection: Selection) -> list[Count]:
        """The counts of this selection, by client, kind, time and label."""


class Cursors(Protocol):
    """Named cursors, each with a lease: of all processes of all nodes, one does a piece of work. See Cursor.

    On PostgreSQL the database's clock counts. A process that stops for longer than its lease, or whose clock jumps, may
    go on next to its successor until its next `take` or `advance`: work must be safe to do twice.
    """

    async def take(self, name: str, holder: str, *, now: int, seconds: int, start: int = 0) -> int | None:
        """Take a cursor, or keep it, for so many seconds; return its number, or None while another holds it.

        A cursor that there is not yet is made, with the number `start`.
        """

    async def advance(self, name: str, holder: str, number: int, problem: str = "") -> bool:
        """Move a cursor on to this number, never back, and note the problem that stops it there.

        Returns:
            False if another process has taken the cursor by then, or it was removed: nothing was changed.
        """

    async def release(self, name: str, holder: str) -> None:
        """End this holder's lease, so that another process need not wait for its end."""

    async def list(self) -> list[Cursor]:
        """All cursors, by name."""

    async def remove(self, name: str) -> bool:
        """Forget a cursor; return whether there was one."""


class RefreshTokens(Protocol):
    """Refresh tokens. The ledger's commits make, rotate and revoke them."""

    async def find(self, digest: bytes) -> RefreshToken | None:
        """The token with this digest, spent or not."""

    async def list(self, client_id: str | None = None, *, after: bytes = b"", limit: int = 100) -> list[RefreshToken]:
        """At most `limit` tokens, of this client or of all, by digest, from the one that follows `after`."""


class Revocations(Protocol):
    """Revoked access tokens. The ledger's commits revoke them."""

    async def find(self, names: Sequence[tuple[str, str]]) -> list[Revocation]:
        """Revocations in force for these (kind, value) pairs."""

    async def list(self, now: int, *, after: Revocation | None = None, limit: int | None = None) -> list[Revocation]:
        """Revocations of tokens that have not expired at `now` (epoch seconds), newest first, after this one."""

    async def mark(self, now: int) -> str:
        """A text that changes with every new or prolonged revocation. Cheap, however many have expired."""


class Ledger(Protocol):
    """Commits decisions."""

    def claim(self, entry: Entry) -> Awaitable[Outcome]:
        """Claim the jti, change refresh tokens and revocations, and append the audit record, in one durable commit.

        Of any number of entries with one (client, digest), from tasks, threads, processes or before a crash, exactly
        one gets FIRST while the claim lives. An entry that loses the jti changes nothing else. One that loses the
        refresh token has used up its jti; a spent token that is used again revokes its family. One whose exchanged
        token is revoked, by any commit before this one, has used up its jtis too. All are recorded as refused. One
        refresh token never gets two successors.

        Revoking a million refresh tokens takes as long as revoking one. A selection revokes every family that began
        before this commit, and none that begins in a later commit, whatever the clocks say.

        Raises:
            StoreError: the entry may have been committed or not. Issue nothing.
        """

    async def find_claim(self, client_id: str, digest: bytes) -> int | None:
        """Epoch second until which this jti of this client stays claimed, or None. Changes nothing."""

    async def purge(self, before: int, *, limit: int = 100) -> int:
        """Delete at most `limit` claims that expired before this instant, and as many refresh tokens; return how many.

        The store remembers the latest expiry that it deleted: no claim that expires then or earlier is ever FIRST
        again. So a clock that ran ahead, and deleted live claims, makes no jti usable twice.

        A refresh token is deleted KEPT_SECONDS after its family expires: a spent token of a live family still betrays a
        thief. A revocation is deleted as long after the last token that it revokes.

        With several nodes, one of them purges; the others return 0.

        Raises:
            StoreError: the store does not take commits, or has failed one and cannot commit PROBE_BYTES yet.
        """


class AuditLog(Protocol):
    """The audit records in the order of their commits, each chained to the one before under the store's audit key.

    Their numbers are 1, 2, 3 and so on. A number is never given twice, even after deletions.
    """

    async def find(self, trace_id: str) -> dict[str, Any] | None:
        """The record of this request."""

    async def export(self, *, after: int | None = None, limit: int = 1000) -> list[AuditRow]:
        """The next records after this number. None begins before every number, forged negative ones too."""

    async def newest(self, *, before: int | None = None, limit: int = 1000) -> list[AuditRow]:
        """The last records before this number, or of all; newest first."""

    async def search(
        self, texts: Sequence[bytes], *, before: int | None = None, looked: int = 10_000, limit: int = 1000
    ) -> Sought:
        """Those of the last `looked` records before this number whose JSON has all of these texts; `limit` at most."""

    async def head(self) -> AuditHead:
        """The end of the log; number 0 and GENESIS if it is empty."""

    async def base(self) -> AuditBase:
        """Where the log begins, as the store has it: its seal is not checked."""

    async def drop(self, base: AuditBase) -> int:
        """Let the log begin after this record: delete it and all before it, in one commit; return how many there were.

        Call it for a few hundred records at a time, and only once they are safe elsewhere.

        Raises:
            StoreError: the log has no such record with this link, or it is the newest; or the commit failed, and then
                it may have happened or not.
        """


class Store(Protocol):
    """All ports of one store. `clients` to `sign_in_links` run on its Tables; it implements the others itself."""

    tables: Tables
    clients: Clients
    apis: Apis
    trusts: Trusts
    rules: Rules
    teams: Teams
    initial_access_tokens: InitialAccessTokens
    signing_keys: SigningKeys
    settings: Settings
    users: Users
    passkeys: Passkeys
    sessions: Sessions
    sign_in_links: SignInLinks
    key_uses: KeyUses
    counts: Counts
    cursors: Cursors
    revocations: Revocations
    refresh_tokens: RefreshTokens
    ledger: Ledger
    audit_log: AuditLog
    # Each takes the audit records, as JSON, of every commit of this process once it is durable; from any thread, in
    # the way of answers: it must be quick, and never fail.
    listeners: list[Callable[[Sequence[bytes]], None]]

    async def open(self) -> None:
        """Open the store, and bring its schema up to date.

        Raises:
            ConfigError: it cannot be opened; the message says why.
        """

    async def close(self) -> None:
        """Finish what is in flight, and close."""

    async def version(self) -> int:
        """A number that changes with every change of a record of the registry or a setting, by any process."""

    async def sizes(self) -> Sizes:
        """How much is in the store. Cheap, however much that is: counts of many rows are estimates."""

    @property
    def waiting(self) -> int:
        """How many commits of this process wait for their turn, or are on their way."""

    @property
    def clock_offset(self) -> float:
        """By how many seconds this process's clock was ahead of the store's; 0 for a store on the same machine."""
