"""A finding of a detector: one kind of trouble with one client, trust or key."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

# The most urgent first: what stops a service, what makes it fail now, what wastes, what is weak, what can go.
Trouble = Literal[
    "key_ends", "signing_key_due", "trust_keys_old", "refused_often", "clock_skewed", "no_cache", "over_budget",
    "would_break", "shared_secret", "unused",
]  # fmt: skip
RANKED: Final[tuple[str, ...]] = get_args(Trouble)
KEY_ENDS: Final = "key_ends"
SIGNING_KEY_DUE: Final = "signing_key_due"
TRUST_KEYS_OLD: Final = "trust_keys_old"
REFUSED_OFTEN: Final = "refused_often"
CLOCK_SKEWED: Final = "clock_skewed"
NO_CACHE: Final = "no_cache"
OVER_BUDGET: Final = "over_budget"
WOULD_BREAK: Final = "would_break"
SHARED_SECRET: Final = "shared_secret"  # noqa: S105 - a name
UNUSED: Final = "unused"
DAY_SECONDS: Final = 86_400
MAX_KEPT: Final = 200  # findings of each kind; the others are only counted
Figures = dict[str, int | str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One trouble; `weight` ranks it among those of its kind, the highest first."""

    kind: Trouble
    noun: str  # client, trust or signing_key
    subject: str
    sentence: str  # what is the matter; the subject is not repeated
    weight: float
    figures: Figures = field(default_factory=dict)
    fix: str | None = None  # a command
    team: str | None = None  # that owns the subject

    @property
    def place(self) -> tuple[int, float, str]:
        """The order of the list."""
        return RANKED.index(self.kind), -self.weight, self.subject


@dataclass(slots=True)
class Scan:
    """All findings: the heaviest of each kind, and how many there are."""

    at: int
    found: dict[str, list[Finding]] = field(default_factory=dict)
    number: Counter[str] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        kept = self.found.setdefault(finding.kind, [])
        self.number[finding.kind] += 1
        kept.append(finding)
        if len(kept) >= 2 * MAX_KEPT:
            kept.sort(key=lambda one: one.place)
            del kept[MAX_KEPT:]
