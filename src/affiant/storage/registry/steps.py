"""The steps of an operation, and the tables that they are on.

An operation is a generator that yields steps and is sent their results (as in client/protocol/flow.py). A store only
performs them: a read in one snapshot, a change in one transaction, with no other change in between.

Order: an operation refuses before its first write. SQLite runs several changes in one transaction, so a write that came
before a refusal would be committed with the others.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from affiant.storage.entries import Entry
from affiant.storage.records import Api, Client, InitialAccessToken, Rule, SigningKey, Team, Trust

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
        return record if isinstance(record, str) else msgspec.json.encode(_without_defaults(record))

    def decode(self, stored: Any) -> Record:
        found: Record = stored if self.type is str else msgspec.json.decode(stored, type=self.type)
        return found


def _without_defaults(value: Any) -> Any:
    """Return a record as its members that differ from their defaults, so that a client fits into its page.

    A default in records.py can never change: what is stored would get another meaning.
    """
    if is_dataclass(value):
        stored = ((one.name, getattr(value, one.name), one.default) for one in fields(value))
        return {name: _without_defaults(given) for name, given, default in stored if given != default}
    return tuple(map(_without_defaults, value)) if type(value) is tuple else value


CLIENTS = Table("client", "client_id", Client, title="client named", copied=("team",))
APIS = Table("api", "identifier", Api, title="API with the identifier")
TRUSTS = Table("trust", "name", Trust, title="trust named")
RULES = Table("rule", "name", Rule, title="rule named")
TEAMS = Table("team", "name", Team, title="team named")
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
    """At most `limit` records by key, from the one that follows `after`, of all or `among` some; or all, newest first.

    Or all of one owner.
    """

    table: Table[Record]
    after: str = ""
    limit: int | None = None
    of: str | None = None  # the value of the table's first copied column
    among: tuple[str, ...] | None = None  # the same, several values


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


class Limit(Protocol):
    """Narrows a registry to the records that one caller has to do with, and judges every change that he makes.

    Its steps read all records, those of a change in its transaction.
    """

    @property
    def has_all(self) -> bool:
        """Whether every record is such a record: the limit only judges changes."""

    def among(self, table: Table[Any]) -> tuple[str, ...] | None:
        """Return the values of the table's first copied column that such records have; None if `has` must say."""

    def has(self, record: Any) -> Steps[bool]:
        """Whether this is such a record; the others do not exist for the caller."""

    def judge(self, before: Any, after: Any) -> Steps[None]:
        """Raise an Error unless the caller may make this change."""


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


async def read(tables: Tables, steps: Steps[Result]) -> Result:
    """Return what these steps return, which only read."""
    answer = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result
        answer = await (tables.get(step) if isinstance(step, Get) else tables.rows(step))  # type: ignore[arg-type]
