"""Find the other rules that a refused assertion breaks, for its audit record only: the caller sees none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose.compact import Verified
from affiant.oauth import assertion
from affiant.oauth.assertion import Rules
from affiant.server.registry.directory import RegisteredClient
from affiant.server.request.notes import Notes

Check = Callable[[dict[str, Any], dict[str, Any], Rules, float], list[Reason]]

NO_POLICY = "none"  # in a record: no policy accepts any breach of this assertion

# In the order in which they are judged, each with its loosest policy.
_RULES: tuple[tuple[str, str, Check], ...] = (
    ("subject", "legacy", lambda _, claims, rules, __: assertion.check_subject(claims, rules)),
    ("typ", "strict", lambda header, _, rules, __: assertion.check_typ(header, rules)),
    ("audience", "legacy", lambda _, claims, rules, __: assertion.check_audience(claims, rules)),
    ("lifetime", "legacy", lambda _, claims, rules, now: assertion.check_times(claims, rules, now)),
    ("jti", "legacy", lambda _, claims, rules, __: assertion.check_jti(claims, rules)),
)


def note(notes: Notes, client: RegisteredClient, verified: Verified, now: float, refusal: Rejected) -> None:
    """Note every other rule that a refused assertion breaks, and the policies that would accept it."""
    header, claims = verified.header, verified.claims
    broken, loose = breaches(header, claims, client.rules, now), loosened(client, header, claims, now)
    notes.also = tuple(other.reason.code for other in broken if other.reason is not refusal.reason)
    notes.policies = " ".join(f"{rule}={policy}" for rule, policy in loose.items()) or NO_POLICY


def breaches(header: dict[str, Any], claims: dict[str, Any], rules: Rules, now: float) -> list[Rejected]:
    """Return the refusal of each rule that the claims of an assertion break, in the order of the steps."""
    found = (_refusal(check, header, claims, rules, now) for _, _, check in _RULES)
    return [refusal for refusal in found if refusal is not None]


def loosened(client: RegisteredClient, header: dict[str, Any], claims: dict[str, Any], now: float) -> dict[str, str]:
    """Return, for each broken rule that has one, the policy that accepts this assertion."""
    needed = {}
    for rule, policy, check in _RULES:
        if _refusal(check, header, claims, client.rules, now) is None:
            continue
        changed: dict[str, Any] = {rule: policy}
        is_demanded = rule == "audience" and client.demands.audience is not None  # by a profile: no policy helps
        if is_demanded or _refusal(check, header, claims, replace(client.rules, **changed), now) is not None:
            continue
        needed[rule] = policy
    return needed


def _refusal(check: Check, header: dict[str, Any], claims: dict[str, Any], rules: Rules, now: float) -> Rejected | None:
    try:
        check(header, claims, rules, now)
    except Rejected as refusal:
        return refusal
    return None
