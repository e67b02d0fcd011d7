"""Compare a token with the conditions of rules: which rule it comes closest to, and what each condition got."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from affiant.oauth.federation import conditions
from affiant.oauth.federation.conditions import Scalar
from affiant.server.registry.federation import claims as claims_of
from affiant.server.registry.federation.known import KnownTrust, meets
from affiant.storage.records import ClaimCondition, Rule

MAX_TEXT = 1000  # characters of the text in an audit record
_MAX_COMPARED = 64  # rules of a trust, each condition of them
_MAX_VALUES = 4  # of a condition in such a text


class Compared(msgspec.Struct, frozen=True):
    """A condition, and the value of its claim in the token; `got` is None if the token lacks the claim."""

    claim: str
    expected: tuple[Scalar, ...]
    got: str | bool | int | float | None
    met: bool


class Nearest(msgspec.Struct, frozen=True):
    """A rule and its conditions, compared with a token; without a rule the trust has none."""

    trust: str
    rule: str = ""
    client_id: str = ""
    enabled: bool = True
    conditions: tuple[Compared, ...] = ()

    @property
    def unmet(self) -> list[Compared]:
        return [one for one in self.conditions if not one.met]


def compare(claims: dict[str, Any], wanted: Iterable[ClaimCondition]) -> tuple[Compared, ...]:
    """Return what each condition expects and gets."""
    return tuple(
        Compared(one.claim, one.values, claims_of.shown(conditions.find(claims, one.claim)), meets(claims, one))
        for one in wanted
    )


def describe(rule: Rule, claims: dict[str, Any]) -> Nearest:
    """Return this rule, compared with a token."""
    return Nearest(rule.trust, rule.name, rule.client_id, rule.enabled, compare(claims, rule.conditions))


def rank(trust: KnownTrust, claims: dict[str, Any], client_id: str | None = None) -> list[Nearest]:
    """Return the rules of this trust, the one that the token comes closest to first.

    Rules whose conditions are all met come first, even disabled ones and those of another client than `client_id`. The
    others follow by most conditions met, then fewest unmet, then earlier conditions met: operators write ids first.
    """
    compared = [describe(rule, claims) for rule in trust.index.closest(claims, _MAX_COMPARED)]
    return sorted(compared, key=lambda one: _distance(one, client_id))


def find(trust: KnownTrust, claims: dict[str, Any], client_id: str | None = None) -> Nearest:
    """Return the rule of this trust that a token comes closest to; one without a name if the trust has none."""
    return next(iter(rank(trust, claims, client_id)), Nearest(trust.name))


def _distance(one: Nearest, client_id: str | None) -> tuple[Any, ...]:
    met = [condition.met for condition in one.conditions]
    is_other = client_id not in (None, one.client_id)
    return not all(met), -sum(met), len(met), [not each for each in met], is_other, not one.enabled, one.rule


def to_text(found: Nearest) -> str:
    """Return the form in an audit record. If there is no room for all conditions, met ones are dropped first."""
    kept = [msgspec.structs.replace(one, expected=_shortened(one.expected)) for one in found.conditions]
    while True:
        text = msgspec.json.encode(msgspec.structs.replace(found, conditions=tuple(kept))).decode()
        if len(text) <= MAX_TEXT or not kept:
            return text
        kept.remove(next((one for one in reversed(kept) if one.met), kept[-1]))


def parse(text: str | None) -> Nearest | None:
    """Parse the text of an audit record; None for one that this version does not know."""
    try:
        return msgspec.json.decode(text or "", type=Nearest)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None


def complete(found: Nearest, rule: Rule) -> Nearest:
    """Return the nearest rule with all of its conditions and values: the record has only those that had room.

    Attack: long claims push a condition out of the record, and a change that explain proposes would drop it.
    """
    kept = {one.claim: one for one in found.conditions}
    whole = [
        msgspec.structs.replace(kept.get(claim) or Compared(claim, values, None, met=True), expected=values)
        for claim, values in rule.conditions
    ]
    return msgspec.structs.replace(found, conditions=tuple(whole))


def _shortened(expected: Sequence[Scalar]) -> tuple[Scalar, ...]:
    return tuple(claims_of.shorten(one) if isinstance(one, str) else one for one in expected[:_MAX_VALUES])
