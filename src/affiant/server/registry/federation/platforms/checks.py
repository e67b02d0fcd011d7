"""Check a trust or a rule by its preset, before it is saved. Pure.

Each message says what to give instead, as a condition (CLAIM=VALUE) or a member.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from affiant.errors import ConfigError
from affiant.oauth.federation.conditions import Scalar
from affiant.server.registry.federation.platforms.platform import Need, Platform, find, is_one_of, path
from affiant.server.registry.federation.platforms.table import PLATFORMS, find_owner
from affiant.storage.records import ClaimCondition, Rule, Trust

_SHOWN = 100  # characters of a value


def usual(preset: str) -> dict[str, Any]:
    """Return the default members of a trust of this preset, as JSON values."""
    platform = find_preset(preset)
    return {
        "max_lifetime": platform.lifetime,
        "replay": platform.replays[0],
        "algorithms": list(platform.algorithms),
        "refuses": {claim: list(values) for claim, values in platform.refuses},
    }


def check_trust(trust: Trust) -> None:
    """Raise ConfigError if the preset does not fit the issuer, or refuses a member of the trust."""
    platform = find_preset(trust.preset)
    owner = find_owner(trust.issuer)
    if owner is not None and owner is not platform:
        raise ConfigError(
            f"{trust.issuer} is an issuer of {owner.title}, whose checks apply: give the preset {owner.name}, as"
            f"  affiant trust add {owner.name}  does"
        )
    if platform.issuers and not any(form.fits(trust.issuer) for form in platform.issuers):
        forms = " or ".join(dict.fromkeys(form.text for form in platform.issuers))
        raise ConfigError(f"the issuer of {platform.title} is {forms}, and not {trust.issuer}")
    if platform.needs_audience and not trust.audiences:
        raise ConfigError(f"give audiences: {platform.needs_audience}; {platform.title} issues no tokens for others")
    if trust.replay not in platform.replays:
        raise ConfigError(
            f"replay of {platform.title} is {' or '.join(platform.replays)}, and not {trust.replay}:"
            f" {_REPLAYS[trust.replay]}"
        )
    if trust.max_lifetime > platform.longest:
        raise ConfigError(f"max_lifetime of {platform.title} is {platform.longest} at most: its tokens live no longer")
    platform.check_trust(trust)


def check_rule(trust: Trust, rule: Rule) -> None:
    """Raise ConfigError unless the conditions of the rule identify one workload of the trust."""
    platform = find_preset(trust.preset)
    for condition in rule.conditions:
        _check_condition(platform, condition)
    platform.check_rule(trust, rule)
    for need in platform.needs:
        _check_need(platform, need, rule)
    for refused in platform.refuses:
        _check_refused(trust, rule, refused)


def warnings(trust: Trust, rule: Rule) -> Iterator[str]:
    """Yield the risks that the operator has accepted for a rule."""
    needs, strict = find_preset(trust.preset).needs, replace(rule, names_only=False)
    if rule.names_only and not all(need.is_met(strict) for need in needs):
        yield f"the rule {rule.path} rests on names: whoever registers them again, once they are free, has its rights"


_REPLAYS = {
    "once": "the platform gives the same token until it expires, or writes no jti, so that the second use would fail",
    "if-present": "each of its tokens has a jti, and one without it is forged or cut",
    "reused": "its tokens are for one use, so that a second one is a stolen one",
}


def find_preset(preset: str) -> Platform:
    if preset not in PLATFORMS:
        raise ConfigError(f"preset must be one of: {', '.join(PLATFORMS)}")
    return PLATFORMS[preset]


def _check_condition(platform: Platform, condition: ClaimCondition) -> None:
    claim, values = condition
    for never, why in platform.never.items():
        if path(claim)[: len(path(never))] == path(never):
            raise ConfigError(f"no rule may rest on {claim}: {why}")
    shape = find(platform.shapes, claim)
    for value in values if shape is not None else ():
        if shape is not None and not shape.allows(value):
            raise ConfigError(f"{claim} of {platform.title} is {shape.wanted}, and not {_shown(value)}")


def _check_need(platform: Platform, need: Need, rule: Rule) -> None:
    if need.is_met(rule):
        return
    whole = " with a whole value, without *" if need.is_exact else ""
    names = f", or names_only to take the risk of {', '.join(need.names)}" if need.has_names(rule) else ""
    raise ConfigError(
        f"a rule for {platform.title} needs a condition on {' or '.join(need.claims)}{whole}, such as {need.example},"
        f" since {need.because}{names}"
    )


def _check_refused(trust: Trust, rule: Rule, refused: ClaimCondition) -> None:
    """Raise ConfigError if neither the trust nor the rule excludes the tokens that the preset refuses."""
    kept = [one for one in trust.refuses if is_one_of(one.claim, (refused.claim,))]
    is_kept = {(type(v), v) for v in refused.values} <= {(type(v), v) for one in kept for v in one.values}
    if is_kept or any(is_one_of(one.claim, (refused.claim,)) for one in rule.conditions):
        return
    raise ConfigError(
        f"the trust {trust.name} does not refuse {refused.claim}={' or '.join(map(str, refused.values))} any more: the"
        f" rule needs a condition on {refused.claim}"
    )


def _shown(value: Scalar) -> str:
    return json.dumps(value)[:_SHOWN]
