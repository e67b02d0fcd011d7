"""Changes that are planned, and which of them would be refused."""

from typing import Annotated, Any, Literal

from pydantic import Field

from affiant.server.admin.documents.base import In, Name, Out

Role = Literal["viewer", "operator", "owner"]


class PlannedChange(In):
    """One request to come: what is created, changed or removed, and what changes right after its creation."""

    action: Literal["create", "update", "remove"]
    kind: Literal["api", "client"]
    name: Name
    members: dict[str, Any] = Field(default_factory=dict)
    then: dict[str, Any] = Field(default_factory=dict)


class DryRun(In):
    """Changes in the order in which they are to be made."""

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
    """The changes that would be refused; the role that all of them need, and the role of who asks."""

    refused: list[RefusedChange]
    needs: Role
    role: Role
