"""The records that a platform's tokens need: a trust unless the issuer has one, a client if it is new, and the rule."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from affiant.errors import ConfigError
from affiant.oauth import names
from affiant.server.registry.federation import platforms
from affiant.server.registry.federation.platforms import proposal
from affiant.server.registry.federation.platforms.platform import Platform
from affiant.storage.records import ClaimCondition, Rule, Trust

_SOURCES = ("jwks", "jwks_uri", "discovery_url", "ca")
_LONGEST_NAME = 64
Record = Mapping[str, Any]  # as the admin API takes and shows it
Records = Collection[Record]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The choices of an operator, in addition to the answers.

    Attributes:
        client_id: of the service for which the tokens speak.
        is_new: whether it is registered now.
        names_only: whether the rule may rest on names.
        when: further conditions.
        ceiling: members of the rule that say what it gives at most; of a new client, what it may have.
        trust: members of the trust.
        trust_name: None for the one of its issuer, or that of the platform.
        rule_name: None for that of the client.
    """

    client_id: str
    is_new: bool = False
    names_only: bool = False
    when: Mapping[str, list[Any]] = field(default_factory=dict)
    ceiling: Record = field(default_factory=dict)
    trust: Record = field(default_factory=dict)
    trust_name: str | None = None
    rule_name: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Members with their names; `trust` is registered already if it is not new, `client` is None if it is."""

    trust: Record
    is_new: bool  # whether the trust is registered now
    client: Record | None
    rule: Record

    @property
    def changes(self) -> list[dict[str, Any]]:
        """The changes for a dry run, in the order in which they are made."""
        return [
            *([_create("trust", self.trust["name"], self.trust)] if self.is_new else []),
            *([_create("client", self.client["client_id"], self.client)] if self.client else []),
            _create("rule", self.rule["name"], self.rule),
        ]


def make(
    platform: Platform,
    answers: Mapping[str, str],
    chosen: Chosen,
    trusts: Records,
    rules: Records,
) -> Plan:
    """Return what is to be registered in addition to these trusts and rules; raise ConfigError if it cannot be."""
    conditions = proposal.make_conditions(platform, answers, names_only=chosen.names_only)
    conditions.update(chosen.when)
    wanted = {**proposal.make_trust(platform, answers), **chosen.trust}
    found = _find_trust(trusts, wanted, chosen.trust_name)
    name = found["name"] if found else chosen.trust_name or _free(wanted["preset"], _named(trusts))
    client = {"client_id": chosen.client_id, **chosen.ceiling, "token_endpoint_auth_method": names.FEDERATED_JWT}
    return Plan(
        trust=found or {**wanted, "name": name},
        is_new=found is None,
        client=client if chosen.is_new else None,
        rule={
            "client_id": chosen.client_id,
            "conditions": conditions,
            **chosen.ceiling,
            **({"names_only": True} if chosen.names_only else {}),
            "name": chosen.rule_name or _free(_as_name(chosen.client_id), _named(rules)),
            "trust": name,
        },
    )


def audiences(trust: Record, issuer: str) -> list[str]:
    """Return the values of which a token must have one as its aud, at the server of this issuer identifier."""
    return list(trust["audiences"]) or [issuer, f"{issuer}/token"]


def in_words(rule: Record) -> str:
    """Return the conditions in words: all of them must be met, and of the values of one claim any."""
    found = rule["conditions"].items()
    return " and ".join(f"{claim}={' or '.join(map(_shown, values))}" for claim, values in found)


def risks(trust: Record, rule: Record) -> Iterator[str]:
    """Yield the sentences that warn of this rule."""
    pins = tuple(ClaimCondition(claim, tuple(values)) for claim, values in rule["conditions"].items())
    record = Rule(rule["name"], trust["name"], rule["client_id"], pins, names_only=rule.get("names_only", False))
    return platforms.warnings(Trust(trust["name"], trust["issuer"], trust["preset"]), record)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _find_trust(trusts: Records, wanted: Record, name: str | None) -> Record | None:
    """Return the trust that the rule is for; None if it has to be registered."""
    issuer = wanted["issuer"]
    same = [one for one in trusts if one["issuer"] == issuer]
    if name is not None:
        named = next((one for one in trusts if one["name"] == name), None)
        if named is not None and named["issuer"] != issuer:
            raise ConfigError(f"the trust {named['name']} is for {named['issuer']}, and not for {issuer}: see --name")
        same = [named] if named is not None else []
    if len(same) > 1:
        known = ", ".join(one["name"] for one in same)
        raise ConfigError(f"{len(same)} trusts have this issuer ({known}): say which one with --name")
    for one in same:
        _check_same(one, wanted)
    return same[0] if same else None


def _check_same(trust: Record, wanted: Record) -> None:
    """Raise ConfigError if the operator gives the trust other members than it has."""
    other = [name for name, value in wanted.items() if name not in ("issuer", "max_lifetime") and trust[name] != value]
    if not other:
        return
    what = ", ".join(other)
    if any(name in _SOURCES for name in other):
        raise ConfigError(
            f"the trust {trust['name']} has this issuer and another {what}: for a second cluster with the same issuer"
            f" give --name; to change the trust, affiant trust update {trust['name']}"
        )
    raise ConfigError(f"the trust {trust['name']} has another {what}: affiant trust update {trust['name']} changes it")


def _create(kind: str, name: str, members: Record) -> dict[str, Any]:
    return {"action": "create", "kind": kind, "name": name, "members": dict(members)}


def _named(records: Records) -> set[str]:
    return {record["name"] for record in records}


def _as_name(client_id: str) -> str:
    """Return the client_id, changed to a valid name of a rule."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", client_id.lower())
    return plain[-_LONGEST_NAME:].strip("-._") or "rule"


def _free(name: str, taken: Collection[str]) -> str:
    """Return the name, with a number if it is taken."""
    if name not in taken:
        return name
    numbered = (f"{name[: _LONGEST_NAME - 5]}-{number}" for number in range(2, len(taken) + 3))
    return next(one for one in numbered if one not in taken)
