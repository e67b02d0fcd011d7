"""The ports: what every store promises. The contract suite (tests/contract) races each promise on each adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from affiant.storage.entries import AuditHead, AuditRow, Entry, Outcome, RefreshToken, Revocation
from affiant.storage.records import Api, Beside, Client, InitialAccessToken, KeyUse, SigningKey

Tell = Callable[[Any, Any], Sequence[Entry]]


class Clients(Protocol):
    """The registered clients. Every change is durable when the call returns, and changes the store's version."""

    async def find(self, client_id: str) -> Client | None:
        """The client of this name, enabled or not."""

    async def list(self, *, after: str = "", limit: int | None = None) -> list[Client]:
        """Those whose names follow this one, by name; at most `limit`."""

    async def add(self, client: Client, *, tell: Tell | None = None, spend: str | None = None) -> None:
        """Register it; of two that add one name at once, one succeeds and the other gets AlreadyExists.

        `spend` is the id of an initial access token, which lets one client fewer in from then on, or NotFound is
        raised: it is used up, or gone. Of any number that spend its last use at once, one succeeds.
        """

    async def update(
        self,
        client_id: str,
        change: Callable[[Client], Client],
        *,
        tell: Tell | None = None,
        beside: Beside | None = None,
    ) -> Client:
        """Put what `change` makes of it in its place, with nobody else's change in between; or raise NotFound.

        An Error that `change` raises, or the check of `beside`, leaves it as it was.
        """

    async def remove(self, client_id: str, *, tell: Tell | None = None, beside: Beside | None = None) -> None:
        """Remove it, its refresh tokens and the uses of its keys in one commit, or raise NotFound.

        An Error that the check of `beside` raises leaves all as it was.
        """


class Apis(Protocol):
    """The protected APIs. Every change is durable when the call returns, and changes the store's version."""

    async def find(self, identifier: str) -> Api | None:
        """The API of this identifier."""

    async def list(self) -> list[Api]:
        """All of them, by identifier."""

    async def add(self, api: Api, *, tell: Tell | None = None) -> None:
        """Register it, or raise AlreadyExists; one that is the default takes that place from another."""

    async def update(self, identifier: str, change: Callable[[Api], Api], *, tell: Tell | None = None) -> Api:
        """As Clients.update; one that becomes the default takes that place from another."""

    async def remove(self, identifier: str, *, tell: Tell | None = None) -> None:
        """Remove it, or raise NotFound."""

    async def default(self) -> Api | None:
        """The API that a token is for when none is asked for."""


class InitialAccessTokens(Protocol):
    """What lets clients register themselves; each is spent in Clients.add."""

    async def find(self, digest: bytes) -> InitialAccessToken | None:
        """The token of this digest, used up or not."""

    async def list(self) -> list[InitialAccessToken]:
        """All of them, the newest first."""

    async def add(self, token: InitialAccessToken, *, tell: Tell | None = None) -> None:
        """Keep it, or raise AlreadyExists."""

    async def remove(self, id: str, *, tell: Tell | None = None) -> None:  # noqa: A002 - its name
        """Forget it, or raise NotFound."""


class KeyUses(Protocol):
    """Which credentials are in use. Told now and then by each worker, so a crash forgets the last moments."""

    async def add(self, uses: Sequence[KeyUse]) -> None:
        """Add these to what is counted already; one credential may stand among them more than once."""

    async def list(self, *client_ids: str) -> list[KeyUse]:
        """The uses of these clients' credentials."""


class SigningKeys(Protocol):
    """The server's own keys, sealed."""

    async def list(self) -> list[SigningKey]:
        """All of them, the newest first."""

    async def change(
        self, change: Callable[[Sequence[SigningKey]], Sequence[SigningKey]], *, tell: Tell | None = None
    ) -> None:
        """Store the keys that `change` makes of all that stand, with nobody else's change in between.

        It is given them newest first; a key of a new kid is added, others are replaced. Of any number of tasks,
        threads, processes and nodes that add one where one is due, exactly one finds that it is due. When it makes
        none, or raises an Error, all stays as it was, the store's version too, and nothing is told.
        """


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


class Settings(Protocol):
    """What the store remembers of itself."""

    async def get(self, name: str) -> str | None:
        """The value, or None."""

    async def put(self, name: str, value: str) -> None:
        """Set it."""


class Store(Protocol):
    """All ports of one store."""

    @property
    def clients(self) -> Clients: ...

    @property
    def apis(self) -> Apis: ...

    @property
    def initial_access_tokens(self) -> InitialAccessTokens: ...

    @property
    def key_uses(self) -> KeyUses: ...

    @property
    def signing_keys(self) -> SigningKeys: ...

    @property
    def revocations(self) -> Revocations: ...

    @property
    def refresh_tokens(self) -> RefreshTokens: ...

    @property
    def ledger(self) -> Ledger: ...

    @property
    def audit_log(self) -> AuditLog: ...

    @property
    def settings(self) -> Settings: ...

    async def open(self) -> None:
        """Make it ready, with its schema up to date.

        Raises:
            ConfigError: it cannot be opened, and why.
        """

    async def close(self) -> None:
        """Finish what was begun."""

    async def version(self) -> int:
        """A number that changes whenever a client, an API or a signing key changes, whoever changed it."""
