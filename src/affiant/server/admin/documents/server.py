"""Documents about the server itself: its log, its settings, its keys, and planned changes."""

from typing import Annotated, Any, Literal

from pydantic import Field

from affiant.server.admin.documents.words import Name, Role, Word
from affiant.server.admin.models import In, Out


class AuditRow(Out):
    """A record of the audit log, with its number."""

    number: int
    record: dict[str, Any]


class AuditHead(Out):
    """The head of the audit log."""

    number: int
    link: str
    head: str
    base: int = Field(description="number of the last record that is archived, before the log; 0 if none is")
    archived_until: int | None = Field(description="when that record was written, in seconds since 1970")


class Verification(Out):
    """Whether the chain is intact, and its head or its first fault."""

    holds: bool
    number: int
    head: str | None = None
    base: int = Field(default=0, description="number of the last record that is archived, before the log")
    message: str | None = None
    code: str | None = None
    trace_id: str | None = None


class Sink(Out):
    """An audit sink, and how far it is behind the log."""

    name: str = Field(description="of the setting")
    number: int = Field(description="of the last record that it has")
    records_behind: int
    seconds_behind: float = Field(description="since the oldest record that it has not")
    problem: str | None = Field(default=None, description="why the last batch was not delivered")


class Sinks(Out):
    """The audit sinks that began and were not removed."""

    items: list[Sink]


class Setting(Out):
    """A setting with its source; the value of a secret is left out."""

    name: str
    value: str | int | float | bool | None
    source: Literal["option", "environment", "file", "remembered", "default"]
    description: str


class Status(Out):
    """This node: its version, its time, and what keeps it from issuing tokens."""

    version: str
    issuer: str
    now: float = Field(description="its time, in seconds since 1970")
    clock_offset: float = Field(description="seconds by which its clock is ahead of the store's")
    obstacles: list[str] = Field(description="as /health reports them; empty if tokens can be issued")


class SigningKey(Out):
    """A key that signs access tokens, without its private part."""

    kid: str
    alg: str
    line: str | None
    state: str
    announced_at: int
    active_at: int
    retiring_at: int | None
    removed_at: int | None
    kms: str | None = Field(description="the name of the key in a KMS; null if the server made it")
    next_due_at: int | None = Field(
        description="when an operator should name the next key, if the last one is in a KMS; null in other cases"
    )


class SigningKeyNew(In):
    """The next key: its algorithm, and when it signs."""

    at_once: bool = Field(default=False, description="sign at once, without the days of announcement")
    alg: Word | None = Field(default=None, description="as before when left out")
    line: Word | None = Field(default=None, description="for the APIs that have chosen this algorithm")
    key: Word | None = Field(
        default=None,
        description="the name of a key in a KMS, such as `awskms:ARN`, or `new`: one that the server makes",
    )


class RemovedSigningKey(Out):
    """The key that signs after another was removed."""

    kid: str
    state: Literal["removed"]
    signer: str | None
    alg: str | None
    kms: str | None = Field(description="the name of the removed key in its KMS, which still has it")


class PlannedChange(In):
    """One planned request; `then` is a change right after a creation."""

    action: Literal["create", "update", "remove"]
    kind: Literal["api", "client", "trust", "rule", "team"]
    name: Name
    members: dict[str, Any] = Field(default_factory=dict)
    then: dict[str, Any] = Field(default_factory=dict)


class DryRun(In):
    """Changes in their order."""

    changes: Annotated[list[PlannedChange], Field(max_length=1000)]


class RefusedChange(Out):
    """A change that would be refused, and why."""

    action: str
    kind: str
    name: str
    reason: str
    title: str
    detail: str


class Judgement(Out):
    """The changes that would be refused, the role that all of them need, and the role of the caller."""

    refused: list[RefusedChange]
    needs: Role
    role: Role
