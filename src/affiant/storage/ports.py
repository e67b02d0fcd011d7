"""The ports: what every store promises. The contract suite (tests/contract) races each promise on each adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from affiant.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from affiant.storage.records import (
        Api,
        AuditHead,
        AuditRow,
        Client,
        Entry,
        Outcome,
        RefreshToken,
        Revocation,
        SigningKey,
    )


class AlreadyExists(Error):
    """Something of this name is registered already."""


class NotFound(Error):
    """Nothing of this name is registered."""


class Clients(Protocol):
    """The registered clients. Every change is durable when the call returns, and changes the store's version."""

    async def find(self, client_id: str) -> Client | None:
        """The client of this name, enabled or not."""

    async def list(self) -> list[Client]:
        """All of them, by name."""

    async def add(self, client: Client) -> None:
        """Register it; of two that add one name at once, one succeeds and the other gets AlreadyExists."""

    async def update(self, client_id: str, change: Callable[[Client], Client]) -> Client:
        """Put what `change` makes of it in its place, with nobody else's change in between; or raise NotFound.

        An Error that `change` raises leaves it as it was.
        """

    async def remove(self, client_id: str) -> None:
        """Remove it and its refresh tokens in one commit, or raise NotFound."""


class Apis(Protocol):
    """The protected APIs."""

    async def find(self, identifier: str) -> Api | None:
        """The API of this identifier."""

    async def list(self) -> list[Api]:
        """All of them, by identifier."""

    async def add(self, api: Api) -> None:
        """Register it, or raise AlreadyExists; one that is the default takes that place from another."""

    async def default(self) -> Api | None:
        """The API that a token is for when none is asked for."""


class SigningKeys(Protocol):
    """The server's own keys, sealed."""

    async def list(self) -> list[SigningKey]:
        """All of them, the newest first."""

    async def change(self, change: Callable[[Sequence[SigningKey]], Sequence[SigningKey]]) -> None:
        """Store the keys that `change` makes of all that stand, with nobody else's change in between.

        It is given them newest first; a key of a new kid is added, others are replaced. Of any number of tasks,
        threads, processes and nodes that add one where one is due, exactly one finds that it is due. When it makes
        none, or raises an Error, all stays as it was, the store's version too.
        """


class RefreshTokens(Protocol):
    """Refresh tokens; they are made and rotated in the ledger's commits."""

    async def find(self, digest: bytes) -> RefreshToken | None:
        """The token of this digest, spent or not."""


class Revocations(Protocol):
    """The access tokens that end before their time; they are revoked through the ledger."""

    async def find(self, names: Sequence[tuple[str, str]]) -> list[Revocation]:
        """Those of these (kind, value) that stand."""

    async def list(self, now: int) -> list[Revocation]:
        """All whose tokens would still be good at this instant, the newest first."""


class Ledger(Protocol):
    """Where decisions become facts."""

    async def claim(self, entry: Entry) -> Outcome:
        """Claim the jti, apply the refresh change and append the audit record, in one durable commit.

        Of any number of entries with one (client, digest), from tasks, threads, processes or before a crash, exactly
        one gets FIRST while the claim lives. Whoever loses the jti changes nothing else; whoever loses the refresh
        token has used up its jti, and a token that comes back after it was spent ends its family. Both are written
        down as refused. One refresh token never gets two successors. The call returns after the commit is durable.

        Raises:
            StoreError: nothing is known to be committed; nothing may be issued.
        """

    async def find_claim(self, client_id: str, digest: bytes) -> int | None:
        """The second until which this jti of this client stays claimed, or None; it changes nothing."""

    async def purge(self, before: int, *, limit: int = 100) -> int:
        """Delete at most `limit` claims that ended before this instant; how many were deleted.

        The end of the last one that was deleted is remembered: no claim that ends then or earlier is ever FIRST again,
        so that a clock that ran ahead, and deleted what lives, makes nothing usable twice.

        0 where several nodes share the store and this is another's work.
        """


class AuditLog(Protocol):
    """The audit records, in the order of their commits, each chained to the one before under the store's audit key.

    Their numbers are 1, 2, 3 and so on; a number is never given twice, whatever is deleted.
    """

    async def find(self, trace_id: str) -> dict[str, Any] | None:
        """The record of this request."""

    async def export(self, *, after: int | None = None, limit: int = 1000) -> list[AuditRow]:
        """The next records after this number; None begins before every number, those that nobody gave too."""

    async def head(self) -> AuditHead:
        """Where the log ends; number 0 and GENESIS when it is empty."""


class Settings(Protocol):
    """What the store remembers of itself."""

    async def get(self, name: str) -> str | None:
        """The value, or None."""

    async def put(self, name: str, value: str) -> None:
        """Set it."""


class Store(Protocol):
    """All ports of one store."""

    @property
    def clients(self) -> Clients:
        """See Clients."""

    @property
    def apis(self) -> Apis:
        """See Apis."""

    @property
    def signing_keys(self) -> SigningKeys:
        """See SigningKeys."""

    @property
    def revocations(self) -> Revocations:
        """See Revocations."""

    @property
    def refresh_tokens(self) -> RefreshTokens:
        """See RefreshTokens."""

    @property
    def ledger(self) -> Ledger:
        """See Ledger."""

    @property
    def audit_log(self) -> AuditLog:
        """See AuditLog."""

    @property
    def settings(self) -> Settings:
        """See Settings."""

    async def open(self) -> None:
        """Make it ready, with its schema up to date.

        Raises:
            ConfigError: it cannot be opened, and why.
        """

    async def close(self) -> None:
        """Finish what was begun."""

    async def version(self) -> int:
        """A number that changes whenever a client, an API or a signing key changes, whoever changed it."""
