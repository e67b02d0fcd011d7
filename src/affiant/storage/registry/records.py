"""Clients, APIs, keys and settings: each operation once, for every store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic

from affiant.storage.entries import Entry
from affiant.storage.records import (
    AlreadyExists,
    Api,
    Client,
    InitialAccessToken,
    NotFound,
    Rule,
    SigningKey,
    Team,
    Trust,
    spent,
)
from affiant.storage.registry.steps import (
    APIS,
    CLIENTS,
    INITIAL_ACCESS_TOKENS,
    RULES,
    SETTINGS,
    SIGNING_KEYS,
    TEAMS,
    TRUSTS,
    Append,
    Audit,
    Condition,
    Drop,
    Forget,
    Get,
    Limit,
    Put,
    Record,
    Rows,
    Steps,
    Table,
    Tables,
    Write,
    read,
)


class OnTables:
    def __init__(self, tables: Tables) -> None:
        self._tables = tables


class Records(OnTables, Generic[Record]):
    """Records by key. Every change is durable when the call returns, and changes the store's version.

    `audit` makes the audit entries of a change. An Error leaves all as it was: from `change`, or from `condition`.
    With a `limit`, records that it does not have are not there, and it judges each change in the commit.
    """

    _table: Table[Record]

    def __init__(self, tables: Tables, limit: Limit | None = None) -> None:
        super().__init__(tables)
        self._limit = limit

    async def add(self, record: Record, *, audit: Audit | None = None, condition: Condition | None = None) -> None:
        """Keep a new record. If two add one key at once, one succeeds.

        Raises:
            AlreadyExists: the key is taken.
        """

        def steps() -> Steps[None]:
            yield from check_free(self._table, record)
            yield from self._judge(None, record)
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
            before = yield from self._require(key)
            after = change(before)
            yield from self._judge(before, after)
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
            before = yield from self._require(key)
            yield from self._judge(before, None)
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
        if self._limit is None or self._limit.has_all:
            return await self._tables.rows(Rows(self._table, after, limit))
        if (among := self._limit.among(self._table)) is not None:
            return await self._tables.rows(Rows(self._table, after, limit, among=among))
        every = await self._tables.rows(Rows(self._table, after))
        return [row for row in every if await read(self._tables, self._limit.has(row))][:limit]

    async def _find(self, step: Get[Record]) -> Record | None:
        found = await self._tables.get(step)
        if found is None or self._limit is None or await read(self._tables, self._limit.has(found)):
            return found
        return None

    def _require(self, key: str) -> Steps[Record]:
        found = yield from require(self._table, key)
        if self._limit is not None and not (yield from self._limit.has(found)):
            raise absent(self._table, key)
        return found

    def _judge(self, before: Record | None, after: Record | None) -> Steps[None]:
        if self._limit is not None:
            yield from self._limit.judge(before, after)


class Clients(Records[Client]):
    """The registered clients, by `client_id`."""

    _table = CLIENTS

    async def of_team(self, team: str, *, after: str = "", limit: int | None = None) -> list[Client]:
        """The clients of this team, by name, from the one that follows `after`."""
        allowed = self._limit.among(CLIENTS) if self._limit is not None else None
        among = (team,) if allowed is None or team in allowed else ()
        return await self._tables.rows(Rows(CLIENTS, after, limit, among=among))

    async def find(self, client_id: str) -> Client | None:
        """The client of this name, enabled or not."""
        return await self._find(Get(CLIENTS, client_id))

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
            yield from self._judge(None, record)
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
        return await self._find(Get(APIS, identifier))

    async def default(self) -> Api | None:
        """The API that a token is for when the request names none."""
        return next((api for api in await self.list() if api.is_default), None)


class Trusts(Records[Trust]):
    """The trusted issuers, by name."""

    _table = TRUSTS

    async def find(self, name: str) -> Trust | None:
        """The trust of this name, enabled or not."""
        return await self._find(Get(TRUSTS, name))


class Rules(Records[Rule]):
    """The rules of all trusts, by name."""

    _table = RULES

    async def find(self, name: str) -> Rule | None:
        """The rule of this name, enabled or not."""
        return await self._find(Get(RULES, name))


class Teams(Records[Team]):
    """The teams, by name."""

    _table = TEAMS

    async def find(self, name: str) -> Team | None:
        """The team of this name."""
        return await self._find(Get(TEAMS, name))


class InitialAccessTokens(Records[InitialAccessToken]):
    """Initial access tokens, by id, with which clients register themselves; Clients.add spends them."""

    _table = INITIAL_ACCESS_TOKENS

    async def find(self, digest: bytes) -> InitialAccessToken | None:
        """The token of this digest, used up or not."""
        return await self._find(Get(INITIAL_ACCESS_TOKENS, digest, column="digest"))


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
    """The ports of this module; every store has them. With a `limit`, as one caller of the admin API sees them."""

    def __init__(self, tables: Tables, limit: Limit | None = None) -> None:
        self.tables: Tables = tables
        self.clients: Clients = Clients(tables, limit)
        self.apis: Apis = Apis(tables, limit)
        self.trusts: Trusts = Trusts(tables, limit)
        self.rules: Rules = Rules(tables, limit)
        self.teams: Teams = Teams(tables, limit)
        self.initial_access_tokens: InitialAccessTokens = InitialAccessTokens(tables, limit)
        self.signing_keys: SigningKeys = SigningKeys(tables)
        self.settings: Settings = Settings(tables)

    async def commit(self, entry: Entry, condition: Callable[[], Steps[None]]) -> None:
        """Commit an entry without a claim or a rotation, if the condition holds in that commit."""

        def steps() -> Steps[None]:
            yield from condition()
            yield Append([entry])

        await self.tables.change(steps)


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
        raise absent(table, key)
    return record


def absent(table: Table[Any], key: str) -> NotFound:
    """Return the refusal of a key that no record has."""
    return NotFound(f"there is no {table.title} {key}")


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
