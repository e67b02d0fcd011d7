"""The documents of counts."""

from typing import Literal

from pydantic import Field

from affiant.server.admin.models import Out
from affiant.server.admin.routes.usage.finding import Trouble

Unit = Literal["minute", "hour", "day"]
Kind = Literal["issued", "refused", "other", "latency", "age", "key", "observed", "api"]


class CountSeries(Out):
    """How often one thing happened in each minute, hour or day; those without any are left out."""

    kind: Kind
    label: str = Field(description="a reason, an endpoint and its outcome, an upper bound, a credential, an API")
    total: int
    points: list[tuple[int, int]] = Field(description="beginnings, in seconds since 1970, each with its count")


class Counts(Out):
    """The counts from `since` until `until`, in steps of one unit."""

    unit: Unit
    since: int
    until: int
    client_id: str | None = Field(description="null: the whole server")
    series: list[CountSeries]


class Active(Out):
    """How many clients got a token since an instant."""

    since: int
    clients: int


class AttentionItem(Out):
    """One trouble, and what mends it."""

    kind: Trouble
    noun: Literal["client", "trust", "signing_key"]
    subject: str = Field(description="the name of the client or trust, or the kid of the key")
    sentence: str
    figures: dict[str, int | str]
    fix: str | None = Field(description="a command that mends it, or shows more")


class Attention(Out):
    """The troubles that need attention, the most urgent first."""

    items: list[AttentionItem]
    more: dict[str, int] = Field(description="by kind, how many there are that are not in `items`")
    scanned_at: int | None = Field(description="when all clients were read last; null: not yet")


class ClientHours(Out):
    """The tokens and refusals of one client in each of the last 24 hours."""

    client_id: str
    issued: list[int]
    refused: list[int]
