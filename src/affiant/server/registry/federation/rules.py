"""Register and change rules: those about several members, and about the trust and the client that they name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import msgspec

from affiant.errors import ConfigError
from affiant.oauth import names
from affiant.oauth.federation.conditions import is_prefix
from affiant.server.registry import kinds, profiles
from affiant.server.registry.federation import platforms
from affiant.server.registry.federation.fields import NAME, RULE
from affiant.server.registry.profiles import Demands
from affiant.storage.entries import LONGEST_TOKEN, AuditRecord, Entry, Revocation
from affiant.storage.records import Client, Rule, Trust

MAX_RULES = 2000
# Attack: any tenant of a shared issuer can make the server compare each of them. Exact values are looked up at once.
MAX_PREFIXES = 500


def build(wanted: Rule, *, now: int) -> Rule:
    """Return the rule as it will be stored; raise ConfigError for an invalid member. See `check`."""
    kinds.read("name", NAME, wanted.name)
    return replace(RULE.check(wanted), created_at=now)


def change(stored: Rule, members: Mapping[str, object]) -> Rule:
    """Return the rule with these members; raise ConfigError for an invalid member. See `check`."""
    return RULE.put(stored, members)


def check(rule: Rule, trust: Trust | None, client: Client | None, *, demands: Demands = profiles.NONE) -> None:
    """Raise ConfigError if this rule does not fit its trust and its client.

    Args:
        rule: the rule.
        trust: the trust that it names; None if there is none.
        client: the client that it names; None if there is none.
        demands: those of the server on every client.
    """
    if trust is None:
        raise ConfigError(f"there is no trust named {rule.trust}: see  affiant trust list")
    if client is None:
        raise ConfigError(f"there is no client named {rule.client_id}: see  affiant client list")
    allowed = profiles.find(client.profile, least=demands)
    if not allowed.allows_method(names.FEDERATED_JWT):
        raise ConfigError(
            f"the client {client.client_id} has the fapi profile, which demands keys or a certificate of the client"
            " itself: no token of a platform speaks for it"
        )
    platforms.check_rule(trust, rule)


def check_among(rule: Rule, others: Iterable[Rule]) -> None:
    """Raise ConfigError if there are too many rules, or if another one is for the same tokens and the same client."""
    others = [other for other in others if other.name != rule.name]
    if len(others) >= MAX_RULES:
        raise ConfigError(f"there are {MAX_RULES:,} rules, the most that a server has")
    if _prefixes(rule) and sum(map(_prefixes, others)) + _prefixes(rule) > MAX_PREFIXES:
        raise ConfigError(f"the rules have {MAX_PREFIXES} conditions with *, the most of a server: name whole values")
    for other in others:
        is_near = (other.trust, other.client_id) == (rule.trust, rule.client_id)
        if is_near and _conditions(other) == _conditions(rule):
            raise ConfigError(f"the rule {other.name} has the same trust, client and conditions")


def _prefixes(rule: Rule) -> int:
    """Return how many conditions of the rule have a value that ends in *."""
    return sum(any(map(is_prefix, condition.values)) for condition in rule.conditions)


def removal(rule: Rule, record: AuditRecord, *, now: int) -> Entry:
    """Return the entry of a rule that is removed with its trust or client: its record, and the end of its tokens."""
    record = msgspec.structs.replace(record, subject=f"rule {rule.name}", outcome="removed")
    shown = {"name": rule.name, **RULE.render(rule)}
    return Entry(record.with_change(shown, None), revocations=(ended(rule, now),))


def ended(rule: Rule, now: int) -> Revocation:
    """Return the revocation of all tokens that the rule gave."""
    return Revocation("rule", rule.path, now, now + LONGEST_TOKEN)


def _conditions(rule: Rule) -> frozenset[str]:
    return frozenset(map(repr, rule.conditions))  # 1 equals True in Python
