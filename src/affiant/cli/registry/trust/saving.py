"""Register a trust, a rule and, if wanted, its client, after a dry run has accepted all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from affiant.cli.connection.admin import Admin, segment
from affiant.cli.registry.manifest import dry_run
from affiant.cli.registry.options import check_scopes
from affiant.errors import ConfigError
from affiant.server.registry.federation.platforms.adding import plan
from affiant.server.registry.federation.platforms.adding.plan import Chosen
from affiant.server.registry.federation.platforms.platform import Platform
from affiant.storage.records import NotFound
from affiant.system.text import printable


@dataclass(frozen=True, slots=True)
class Wanted:
    """A platform, the answers to its questions, and what the operator chose."""

    platform: Platform
    answers: Mapping[str, str]
    chosen: Chosen


@dataclass(frozen=True, slots=True)
class Done:
    """The documents as registered."""

    trust: dict[str, Any]
    rule: dict[str, Any]
    client: dict[str, Any] | None
    is_new: bool  # whether the trust was registered now
    issuer: str  # issuer identifier of the server
    problem: str | None = None  # why the keys of a new trust cannot be obtained


async def save(api: Admin, wanted: Wanted) -> Done:
    """Register the trust, client and rule; a registered trust of this issuer gets the rule."""
    chosen = wanted.chosen
    trusts, rules = await api.all("/trusts"), await api.all("/rules")
    if not chosen.is_new:
        await _check_client(api, chosen.client_id)
    planned = plan.make(wanted.platform, wanted.answers, chosen, trusts, rules)
    refused, needs = await dry_run.judge(api, planned.changes)
    if refused:  # the first one is why the others are refused
        raise ConfigError(f"{printable(dry_run.why(refused[0]))}; nothing was changed")
    await dry_run.check_role(api, needs)
    done = Done(
        # Order: a trust gives nothing without a rule, and a rule needs its client.
        trust=await api.post("/trusts", dict(planned.trust)) if planned.is_new else dict(planned.trust),
        client=await api.post("/clients", dict(planned.client)) if planned.client else None,
        rule=await api.post("/rules", dict(planned.rule)),
        is_new=planned.is_new,
        issuer=api.issuer,
        problem=await _find_problem(api, planned.trust["name"]) if planned.is_new else None,
    )
    await check_scopes(api, chosen.ceiling.get("scope", ()))
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
