"""Find what an operator can change if the caller's code cannot change: one command, or why no setting helps.

For each reason, a table says which options of `affiant client update` make the server accept it, or why none does.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from affiant.errors import Rejected
from affiant.oauth import names
from affiant.oauth.assertion import LIFETIMES
from affiant.oauth.parameters.scope import are_covered
from affiant.reasons import Reason
from affiant.server.explain.facts import Facts
from affiant.server.explain.fixes import Fix
from affiant.server.registry.directory import RegisteredClient
from affiant.server.registry.kinds import GRANT_TYPES

Options = Callable[[Rejected, Facts, RegisteredClient], str | None]

_BY_POLICY = {
    Reason.ISS_SUB: "subject",
    Reason.TYP_EXPLICIT: "typ",
    Reason.AUDIENCE: "audience",
    Reason.LIFETIME: "lifetime",
    Reason.IAT_OLD: "lifetime",
    Reason.JTI: "jti",
}


def find(refusals: Sequence[Rejected], facts: Facts) -> Fix | None:
    """Return the command that makes the server accept this request; a Fix without a line if no setting does.

    None for a reason that has nothing to do with settings.
    """
    if not refusals:
        return None
    first = refusals[0]
    if first.reason not in _OPTIONS and first.reason not in _NEVER:
        return None
    never = next((why for refusal in refusals if (why := _never(refusal, facts))), None)
    if never is not None:
        return Fix("", f"no setting lets this through: {never}")
    if facts.client is None:
        return None
    found = [_of(refusal, facts, facts.client) for refusal in refusals]
    if found[0] is None:
        return None
    options = " ".join(dict.fromkeys(option for option in found if option))
    rest = [refusal.reason.code for refusal, option in zip(refusals, found, strict=True) if option is None]
    why = "if the caller's code cannot be changed, the operator can let it through"
    if rest:
        why = f"if the caller's code cannot be changed, the operator can let it come further: {', '.join(rest)} stays"
    return Fix(f"affiant client update {shlex.quote(facts.client.client_id)} {options}", why)


def _of(refusal: Rejected, facts: Facts, client: RegisteredClient) -> str | None:
    made = _OPTIONS.get(refusal.reason)
    return made(refusal, facts, client) if made is not None else None


def _never(refusal: Rejected, facts: Facts) -> str | None:
    made = _NEVER.get(refusal.reason)
    return made(refusal, facts) if made is not None else None


def _policy(refusal: Rejected, facts: Facts, _: RegisteredClient) -> str | None:
    rule = _BY_POLICY[refusal.reason]
    return f"--{rule} {facts.policies[rule]}" if rule in facts.policies else None


def _secret_method(refusal: Rejected, _: Facts, client: RegisteredClient) -> str | None:
    """Change between the two ways to send a secret only: no suggested command may weaken a client that has a key."""
    by_secret = (names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST)
    sent = refusal.got.partition(" ")[0]
    is_between = client.record.token_endpoint_auth_method in by_secret and sent in by_secret
    return f"--auth {sent}" if is_between else None


def _scope(_: Rejected, facts: Facts, client: RegisteredClient) -> str | None:
    asked = facts.scope.replace(",", " ").split()
    offered = {name for api in facts.apis for name in api.scopes}
    if not asked or not are_covered(asked, offered):
        return None
    return _repeated("scope", [*client.record.scope, *asked])


def _resource(_: Rejected, facts: Facts, client: RegisteredClient) -> str | None:
    known = {api.identifier: api.is_default for api in facts.apis}
    if not facts.resources or not set(facts.resources) <= known.keys():
        return None
    before = client.record.resources or tuple(name for name, is_default in known.items() if is_default)
    return _repeated("resource", [*before, *facts.resources])


def _grant(_: Rejected, facts: Facts, client: RegisteredClient) -> str | None:
    return _repeated("grant", [*client.record.grant_types, facts.grant]) if facts.grant in GRANT_TYPES else None


def _certificate(_: Rejected, __: Facts, client: RegisteredClient) -> str | None:
    # A client that authenticates by its certificate, or whose profile binds tokens, has no such choice.
    is_chosen = client.record.tls_client_certificate_bound_access_tokens and not client.demands.binds
    return "--certificate-bound optional" if is_chosen else None


def _repeated(option: str, values: Sequence[str]) -> str:
    return " ".join(f"--{option} {shlex.quote(value)}" for value in dict.fromkeys(values))


_OPTIONS: dict[Reason, Options] = {
    **dict.fromkeys(_BY_POLICY, _policy),
    Reason.CLIENT_METHOD: _secret_method,
    Reason.DPOP_MISSING: lambda _, __, client: None if client.demands.binds else "--dpop optional",
    Reason.CERTIFICATE_MISSING: _certificate,
    Reason.SCOPE_NOT_ALLOWED: _scope,
    Reason.RESOURCE_NOT_ALLOWED: _resource,
    Reason.GRANT_NOT_ALLOWED: _grant,
}


def _by_policy(why: str) -> Callable[[Rejected, Facts], str | None]:
    """Return the reason why no policy accepts it, if the policies were tried and none does."""

    def found(refusal: Rejected, facts: Facts) -> str | None:
        return why if facts.judged_to > 0 and _BY_POLICY[refusal.reason] not in facts.policies else None

    return found


def _always(why: str) -> Callable[[Rejected, Facts], str | None]:
    return lambda _, __: why


_NEVER: dict[Reason, Callable[[Rejected, Facts], str | None]] = {
    Reason.AUDIENCE: _by_policy("by every policy aud is the issuer, or its token endpoint, alone"),
    Reason.LIFETIME: _by_policy(f"no assertion may live longer than {LIFETIMES['legacy']} s"),
    Reason.IAT_OLD: _by_policy(f"no assertion may be older than {LIFETIMES['legacy']} s"),
    Reason.EXP_MISSING: _always("exp is required, as a number of seconds (RFC 7519 section 2)"),
    Reason.TIME_CLAIM: _always("times are numbers of seconds (RFC 7519 section 2)"),
    Reason.CONTENT_TYPE: _always("the endpoint takes forms only, as every OAuth server must (RFC 6749 section 3.2)"),
}
