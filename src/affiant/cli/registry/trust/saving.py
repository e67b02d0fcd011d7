"""Register a trust, a rule and, if wanted, its client, after a dry run has accepted all of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from affiant.cli.connection.admin import Admin, segment
from affiant.cli.registry.manifest import dry_run
from affiant.cli.registry.options import check_scopes
from affiant.errors import ConfigError
from affiant.oauth import names
from affiant.storage.records import NotFound
from affiant.system.text import printable

_SOURCES = ("jwks", "jwks_uri", "discovery_url", "ca")
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class Wanted:
    """Members as the admin API takes them, and the names that the operator chose."""

    trust: Mapping[str, Any]  # without its name
    rule: Mapping[str, Any]  # without its name and its trust
    client: Mapping[str, Any] | None  # None: it is registered already
    trust_name: str | None = None
    rule_name: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The documents as registered."""

    trust: dict[str, Any]
    rule: dict[str, Any]
    client: dict[str, Any] | None
    is_new: bool  # whether the trust was registered now
    issuer: str  # issuer identifier of the server
    problem: str | None = None  # why the keys of a new trust cannot be obtained

    @property
    def audiences(self) -> list[str]:
        """The values of which a token must have one as its aud."""
        return list(self.trust["audiences"]) or [self.issuer, f"{self.issuer}/token"]


async def save(api: Admin, wanted: Wanted) -> Done:
    """Register the trust, client and rule; a registered trust of this issuer gets the rule."""
    trusts, rules = await api.all("/trusts"), await api.all("/rules")
    client_id = wanted.rule["client_id"]
    if wanted.client is None:
        await _check_client(api, client_id)
    found = _find_trust(trusts, wanted)
    trust_name = found["name"] if found else wanted.trust_name or _free(wanted.trust["preset"], _named(trusts))
    trust = {**wanted.trust, "name": trust_name}
    rule_name = wanted.rule_name or _free(_as_name(client_id), _named(rules))
    rule = {**wanted.rule, "name": rule_name, "trust": trust_name}
    client = {**wanted.client, "token_endpoint_auth_method": names.FEDERATED_JWT} if wanted.client else None
    changes = [
        *([] if found else [_create("trust", trust_name, trust)]),
        *([_create("client", client_id, client)] if client else []),
        _create("rule", rule_name, rule),
    ]
    refused, needs = await dry_run.judge(api, changes)
    if refused:  # the first one is why the others are refused
        raise ConfigError(f"{printable(dry_run.why(refused[0]))}; nothing was changed")
    await dry_run.check_role(api, needs)
    done = Done(
        # Order: a trust gives nothing without a rule, and a rule needs its client.
        trust=found or await api.post("/trusts", trust),
        client=await api.post("/clients", client) if client else None,
        rule=await api.post("/rules", rule),
        is_new=found is None,
        issuer=api.issuer,
        problem=await _find_problem(api, trust_name) if found is None else None,
    )
    await check_scopes(api, wanted.rule.get("scope", ()))
    return done


async def _find_problem(api: Admin, trust_name: str) -> str | None:
    """Return why the keys of the trust cannot be obtained; None if they can."""
    tried: dict[str, Any] = await api.get(f"/trusts/{segment(trust_name)}/keys")
    problem: str | None = tried["problem"]
    return problem


async def _check_client(api: Admin, client_id: str) -> None:
    try:
        await api.get(f"/clients/{segment(client_id)}")
    except NotFound:
        raise NotFound(
            f"there is no client {client_id}: register it in the same step with  --new-client {client_id}"
        ) from None


def _find_trust(trusts: Collection[dict[str, Any]], wanted: Wanted) -> dict[str, Any] | None:
    """Return the trust that the rule is for; None if it has to be registered."""
    issuer = wanted.trust["issuer"]
    same = [one for one in trusts if one["issuer"] == issuer]
    if wanted.trust_name is not None:
        named = next((one for one in trusts if one["name"] == wanted.trust_name), None)
        if named is not None and named["issuer"] != issuer:
            raise ConfigError(f"the trust {named['name']} is for {named['issuer']}, and not for {issuer}: see --name")
        same = [named] if named is not None else []
    if len(same) > 1:
        known = ", ".join(one["name"] for one in same)
        raise ConfigError(f"{len(same)} trusts have this issuer ({known}): say which one with --name")
    for one in same:
        _check_same(one, wanted.trust)
    return same[0] if same else None


def _check_same(trust: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
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


def _create(kind: str, name: str, members: Mapping[str, Any]) -> dict[str, Any]:
    return {"action": "create", "kind": kind, "name": name, "members": members}


def _named(records: Collection[Mapping[str, Any]]) -> set[str]:
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
