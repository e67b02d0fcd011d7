"""The documents of counts."""

from typing import Literal

from pydantic import Field

from affiant.server.admin.models import Out

Unit = Literal["minute", "hour", "day"]
Kind = Literal["issued", "refused", "other", "latency", "age", "key", "observed", "api"]


class CountSeries(Out):
    """How often one thing happened in each minute, hour or day; those without any are left out."""

    kind: Kind
    label: str = Field(description="a reason, an endpoint and its outcome, an upper bound, a credential, an API")
    total: int
    points: list[tuple[int, int]] = Field(description="beginnings, in seconds since 1970, each with its count")


class Counts(Out):
    """What happened from `since` until `until`, in steps of one unit."""

    unit: Unit
    since: int
    until: int
    client_id: str | None = Field(description="null: the whole server")
    series: list[CountSeries]
