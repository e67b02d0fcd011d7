"""Clients, APIs, keys and settings: each operation once, for every store.

An operation is a generator that yields steps and is sent their results (as in client/protocol/flow.py). A store only
performs them: a read in one snapshot, a change in one transaction, with no other change in between.

Order: an operation refuses before its first write. SQLite runs several changes in one transaction, so a write that came
before a refusal would be committed with the others.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from affiant.storage.entries import Entry
from affiant.storage.records import (
    AlreadyExists,
    Api,
    Client,
    InitialAccessToken,
    NotFound,
    Rule,
    SigningKey,
    Trust,
    spent,
)

Record = TypeVar("Record")
Result = TypeVar("Result")

# Makes the audit entries of a change, from the record before it and after it (None: there is none). They are committed
# with the change, and must be such that cannot be refused: no claim, no rotation. Where rules are removed with their
# trust or client, it gets each of them after that record.
Audit = Callable[[Any, Any], Sequence[Entry]]


@dataclass(frozen=True, slots=True)
class Table(Generic[Record]):
    """Records by key: `key` is a column, and `column` has the encoded record."""

    name: str
    key: str
    type: type[Record]
    column: str = "record"
    is_by_age: bool = False  # listed newest first, not by key
    copied: tuple[str, ...] = ()  # fields of the record that have a column too
    title: str = ""  # in messages, before the key
    is_cached: bool = True  # whether processes keep its records, and so must learn of every change

    def encode(self, record: Record) -> str | bytes:
        return record if isinstance(record, str) else msgspec.json.encode(record)

    def decode(self, stored: Any) -> Record:
        found: Record = stored if self.type is str else msgspec.json.decode(stored, type=self.type)
        return found


CLIENTS = Table("client", "client_id", Client, title="client named")
APIS = Table("api", "identifier", Api, title="API with the identifier")
TRUSTS = Table("trust", "name", Trust, title="trust named")
RULES = Table("rule", "name", Rule, title="rule named")
INITIAL_ACCESS_TOKENS = Table(
    "initial_access_token", "id", InitialAccessToken, title="initial access token", is_by_age=True, copied=("digest",)
)
SIGNING_KEYS = Table("signing_key", "kid", SigningKey, is_by_age=True)
SETTINGS = Table("setting", "name", str, column="value")


@dataclass(frozen=True, slots=True)
class Get(Generic[Record]):
    """The record whose key, or whose `column`, has this value; or None."""

    table: Table[Record]
    value: str | bytes
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Rows(Generic[Record]):
    """At most `limit` records by key, from the one that follows `after`; or all, newest first; or all of one owner."""

    table: Table[Record]
    after: str = ""
    limit: int | None = None
    of: str | None = None  # the value of the table's first copied column


@dataclass(frozen=True, slots=True)
class Put(Generic[Record]):
    """Insert the record, or replace the one with this key."""

    table: Table[Record]
    key: str
    record: Record


@dataclass(frozen=True, slots=True)
class Drop:
    """Delete the record with this key."""

    table: Table[Any]
    key: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete a client's refresh tokens, the uses of its keys and its counts."""

    client_id: str


@dataclass(frozen=True, slots=True)
class Append:
    """Commit these entries with the change."""

    entries: Sequence[Entry]


Write = Put[Any] | Drop | Forget
Step = Get[Any] | Rows[Any] | Write | Append
Steps = Generator[Step, Any, Result]


def changes_version(step: Step) -> bool:
    """Whether processes that keep records must read them again after this step."""
    return isinstance(step, Put | Drop) and step.table.is_cached


# Judges a change by other records, from the record before and after it. It reads them in the transaction of the change;
# an Error that it raises undoes all.
Condition = Callable[[Any, Any], Steps[None]]


@dataclass(frozen=True, slots=True)
class OtherClient:
    """A condition on a second client: `check` gets the client before and after, and the second one, if there is one."""

    client_id: str
    check: Callable[[Client, Client | None, Client | None], None]

    def __call__(self, before: Client, after: Client | None) -> Steps[None]:
        self.check(before, after, (yield Get(CLIENTS, self.client_id)))


class Tables(Protocol):
    """The methods of a store on which everything in this module works."""

    async def get(self, step: Get[Record]) -> Record | None:
        """The record that the step names."""

    async def rows(self, step: Rows[Record]) -> list[Record]:
        """The records that the step names, all of one moment."""

    async def change(self, steps: Callable[[], Steps[Result]]) -> Result:
        """Perform these steps in one transaction; an Error that they raise undoes it.

        Durable when the call returns. A change of records that processes cache gives the store another version; no
        other change does. `steps` may be called again if the transaction is.
        """


def drive(steps: Steps[Result], perform: Callable[[Step], Any]) -> Result:
    """Perform these steps one after the other; return what they return."""
    answer = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result
        answer = perform(step)


class OnTables:
    def __init__(self, tables: Tables) -> None:
        self._tables = tables


class Records(OnTables, Generic[Record]):
    """Records by key. Every change is durable when the call returns, and changes the store's version.

    `audit` makes the audit entries of a change. An Error leaves all as it was: from `change`, or from `condition`.
    """

    _table: Table[Record]

    async def add(self, record: Record, *, audit: Audit | None = None, condition: Condition | None = None) -> None:
        """Keep a new record. If two add one key at once, one succeeds.

        Raises:
            AlreadyExists: the key is taken.
        """

        def steps() -> Steps[None]:
            yield from check_free(self._table, record)
            if condition is not None:
                yield from condition(None, record)
            writes = yield from _put(self._table, record)
            yield from save(writes, audit, (None, record))

        await self._tables.change(steps)

    async def update(
        self,
        key: str,
        change: Callable[[Record], Record],
        *,
        audit: Audit | None = None,
        condition: Condition | None = None,
    ) -> Record:
        """Replace a record by what `change` returns for it, with no other change in between.

        Raises:
            NotFound: there is no such record.
        """

        def steps() -> Steps[Record]:
            before = yield from require(self._table, key)
            after = change(before)
            if condition is not None:
                yield from condition(before, after)
            writes = yield from _put(self._table, after)
            yield from save(writes, audit, (before, after))
            return after

        return await self._tables.change(steps)

    async def remove(self, key: str, *, audit: Audit | None = None, condition: Condition | None = None) -> None:
        """Remove a record, in one commit with what depends on it.

        These are the rules of a trust; and of a client the rules that name it, its refresh tokens, the uses of its
        keys and its counts.

        Raises:
            NotFound: there is no such record.
        """

        def steps() -> Steps[None]:
            before = yield from require(self._table, key)
            if condition is not None:
                yield from condition(before, None)
            rules = yield from _rules_of(before)
            writes: list[Write] = [*(Drop(RULES, rule.name) for rule in rules), Drop(self._table, key)]
            if isinstance(before, Client):
                writes.append(Forget(key))
            yield from save(writes, audit, (before, None), *((rule, None) for rule in rules))

        await self._tables.change(steps)

    async def list(self, *, after: str = "", limit: int | None = None) -> list[Record]:
        """Those whose keys follow this one, by key, at most `limit`; of a table by age all, newest first."""
        return await self._tables.rows(Rows(self._table, after, limit))


class Clients(Records[Client]):
    """The registered clients, by `client_id`."""

    _table = CLIENTS

    async def find(self, client_id: str) -> Client | None:
        """The client of this name, enabled or not."""
        return await self._tables.get(Get(CLIENTS, client_id))

    async def add(
        self,
        record: Client,
        *,
        audit: Audit | None = None,
        condition: Condition | None = None,
        spend: str | None = None,
    ) -> None:
        """Register a client. If two add one name at once, one succeeds.

        Args:
            record: the client.
            audit: makes the audit entries of the change.
            condition: judges the change.
            spend: id of the initial access token that lets it in and loses one use. Of any number that spend the last
                use at once, one succeeds.

        Raises:
            AlreadyExists: the name is taken.
            NotFound: the initial access token is used up, or does not exist.
        """

        def steps() -> Steps[None]:
            yield from check_free(CLIENTS, record)
            if condition is not None:
                yield from condition(None, record)
            writes = yield from _put(CLIENTS, record)
            if spend is not None:
                left = spent((yield Get(INITIAL_ACCESS_TOKENS, spend)), spend)
                writes.append(Put(INITIAL_ACCESS_TOKENS, spend, left))
            yield from save(writes, audit, (None, record))

        await self._tables.change(steps)


class Apis(Records[Api]):
    """The protected APIs, by identifier. If one becomes the default, the one before is no longer."""

    _table = APIS

    async def find(self, identifier: str) -> Api | None:
        """The API of this identifier."""
        return await self._tables.get(Get(APIS, identifier))

    async def default(self) -> Api | None:
        """The API that a token is for when the request names none."""
        return next((api for api in await self.list() if api.is_default), None)


class Trusts(Records[Trust]):
    """The trusted issuers, by name."""

    _table = TRUSTS

    async def find(self, name: str) -> Trust | None:
        """The trust of this name, enabled or not."""
        return await self._tables.get(Get(TRUSTS, name))


class Rules(Records[Rule]):
    """The rules of all trusts, by name."""

    _table = RULES

    async def find(self, name: str) -> Rule | None:
        """The rule of this name, enabled or not."""
        return await self._tables.get(Get(RULES, name))


class InitialAccessTokens(Records[InitialAccessToken]):
    """Initial access tokens, by id, with which clients register themselves; Clients.add spends them."""

    _table = INITIAL_ACCESS_TOKENS

    async def find(self, digest: bytes) -> InitialAccessToken | None:
        """The token of this digest, used up or not."""
        return await self._tables.get(Get(INITIAL_ACCESS_TOKENS, digest, column="digest"))


class SigningKeys(OnTables):
    """The server's own keys, sealed."""

    async def list(self) -> list[SigningKey]:
        """All of them, newest first."""
        return await self._tables.rows(Rows(SIGNING_KEYS))

    async def change(
        self, change: Callable[[Sequence[SigningKey]], Sequence[SigningKey]], *, audit: Audit | None = None
    ) -> None:
        """Store the keys that `change` returns for all present ones, with no other change in between.

        It gets them newest first. A key with a new kid is added, others are replaced. Of any number of tasks, threads,
        processes and nodes that each add a key where one is due, exactly one finds it due. If `change` returns no key,
        or raises an Error, everything stays as it was: the store's version and the audit log too.
        """

        def steps() -> Steps[None]:
            before: list[SigningKey] = yield Rows(SIGNING_KEYS)
            changed = change(before)
            if changed:
                yield from save([Put(SIGNING_KEYS, key.kid, key) for key in changed], audit, (before, changed))

        await self._tables.change(steps)


class Settings(OnTables):
    """Values that the store keeps about itself."""

    async def get(self, name: str) -> str | None:
        """The value, or None."""
        return await self._tables.get(Get(SETTINGS, name))

    async def put(self, name: str, value: str) -> None:
        """Set the value; it changes the store's version."""
        await self._tables.change(lambda: save([Put(SETTINGS, name, value)], None))


class Registry:
    """The ports of this module; every store has them."""

    def __init__(self, tables: Tables) -> None:
        self.clients: Clients = Clients(tables)
        self.apis: Apis = Apis(tables)
        self.trusts: Trusts = Trusts(tables)
        self.rules: Rules = Rules(tables)
        self.initial_access_tokens: InitialAccessTokens = InitialAccessTokens(tables)
        self.signing_keys: SigningKeys = SigningKeys(tables)
        self.settings: Settings = Settings(tables)


def save(writes: Sequence[Write], audit: Audit | None, *changes: tuple[Any, Any]) -> Steps[None]:
    """Write, and append the audit entries of these changes. The last part of all: nothing in it refuses."""
    entries = [entry for change in changes for entry in audit(*change)] if audit is not None else []
    yield from writes
    if entries:
        yield Append(entries)


def check_free(table: Table[Record], record: Record) -> Steps[None]:
    key, article = getattr(record, table.key), "an" if table.title[0] in "aAi" else "a"
    if (yield Get(table, key)) is not None:
        raise AlreadyExists(f"{article} {table.title} {key} exists already")


def require(table: Table[Record], key: str) -> Steps[Record]:
    record: Record | None = yield Get(table, key)
    if record is None:
        raise NotFound(f"there is no {table.title} {key}")
    return record


def _rules_of(record: Any) -> Steps[list[Rule]]:
    """Return the rules that are removed with this record."""
    if not isinstance(record, Trust | Client):
        return []
    rules: list[Rule] = yield Rows(RULES)
    if isinstance(record, Trust):
        return [rule for rule in rules if rule.trust == record.name]
    return [rule for rule in rules if rule.client_id == record.client_id]


def _put(table: Table[Record], record: Record) -> Steps[list[Write]]:
    writes: list[Write] = [Put(table, getattr(record, table.key), record)]
    if isinstance(record, Api) and record.is_default:
        others: list[Api] = yield Rows(APIS)
        old = [row for row in others if row.is_default and row.identifier != record.identifier]
        writes += [Put(APIS, row.identifier, replace(row, is_default=False)) for row in old]
    return writes
