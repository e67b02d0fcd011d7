"""Register and change trusts: the rules that concern several members, or several trusts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from affiant.errors import ConfigError
from affiant.oauth import names
from affiant.oauth.federation import spiffe_id
from affiant.oauth.parameters import jwks_uri
from affiant.server.registry import kinds
from affiant.server.registry.federation import platforms
from affiant.server.registry.federation.fields import NAME, TRUST
from affiant.server.registry.federation.known import read_uploaded
from affiant.storage.records import Rule, Trust

MAX_TRUSTS = 256
SOURCES = ("jwks", "jwks_uri", "discovery_url")  # of keys: a trust has one at most, or the metadata of its issuer
_HTTPS = "https://"


def build(wanted: Trust, *, issuer: str, now: int) -> Trust:
    """Return the trust as it will be stored; raise ConfigError if it cannot be registered at this server."""
    kinds.read("name", NAME, wanted.name)
    wanted = TRUST.check(wanted)
    if wanted.issuer == issuer:
        # Attack: a client authenticates as another one with an access token of this server.
        raise ConfigError("this server does not trust itself: its clients exchange their access tokens (RFC 8693)")
    _check_sources([name for name in SOURCES if getattr(wanted, name) is not None])
    dated = replace(wanted, created_at=now, jwks_at=now if wanted.jwks is not None else None)
    _check(dated)
    return dated


def change(stored: Trust, members: Mapping[str, object], *, now: int) -> Trust:
    """Return the trust with these members; raise ConfigError if it cannot be registered so.

    A new source of its keys replaces the one before.
    """
    values = TRUST.read(members)
    sources = [name for name in SOURCES if name in values]
    _check_sources(sources)
    if sources:
        values = {**dict.fromkeys(SOURCES), **values}
    if values.get("jwks", stored.jwks) != stored.jwks:
        values["jwks_at"] = now if values["jwks"] is not None else None
    if "jwks" in sources:
        values.setdefault("ca", None)
    changed = replace(stored, **values)
    if changed.enabled:  # every trust can be disabled, even one that is not valid any more
        _check(changed)
    return changed


def check_apart(trust: Trust, others: Iterable[Trust]) -> None:
    """Raise ConfigError if there are too many trusts, or if another one takes the same tokens.

    Attack: two trusts of one issuer with the same keys. Each of its tokens would speak for the clients of both.
    """
    others = [other for other in others if other.name != trust.name]
    if len(others) >= MAX_TRUSTS:
        raise ConfigError(f"there are {MAX_TRUSTS} trusts, the most that a server has")
    for other in others:
        if other.issuer == trust.issuer and _shares_keys(trust, other):
            raise ConfigError(
                f"the trust {other.name} has the same issuer and the same keys: add rules to it, or give each trust"
                " keys of its own (jwks, jwks_uri or discovery_url)"
            )


def check_rules(before: Trust, after: Trust, rules: Iterable[Rule]) -> None:
    """Raise ConfigError if a rule of the trust is safe only with a refusal that the changed trust lacks."""
    if not after.enabled or (before.enabled and before.refuses == after.refuses):
        return
    for rule in rules:
        if rule.trust == after.name and rule.enabled:
            try:
                platforms.check_rule(after, rule)
            except ConfigError as error:
                raise ConfigError(f"the rule {rule.name}: {error}") from None


def check_removable(trust: Trust, rules: Iterable[Rule]) -> None:
    """Raise ConfigError if the trust has rules."""
    found = sorted(rule.name for rule in rules if rule.trust == trust.name)
    if found:
        shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")  # noqa: PLR2004
        raise ConfigError(
            f"the trust {trust.name} has rules ({shown}): remove them with it (with_rules), or disable the trust"
        )


def _check(trust: Trust) -> None:
    _check_issuer(trust)
    if trust.ca is not None and trust.jwks is not None:
        raise ConfigError("ca is for keys that are fetched: a trust with jwks fetches none")
    if trust.jwks is not None:
        read_uploaded(trust)  # only now is it known whether the set is a SPIFFE bundle
    platforms.check_trust(trust)


def _check_sources(given: list[str]) -> None:
    if len(given) > 1:
        raise ConfigError(f"give one of {' and '.join(given)}")


def _check_issuer(trust: Trust) -> None:
    """Raise ConfigError for an issuer that is malformed, or whose keys cannot be found."""
    if spiffe_id.is_domain(trust.issuer):
        if spiffe_id.find_domain(trust.issuer) != trust.issuer:
            raise ConfigError("issuer must be spiffe:// and a trust domain alone: a-z 0-9 . _ -")
        if trust.jwks is None and trust.jwks_uri is None:
            # SPIFFE Federation section 5.1.1: the address of a bundle is configured, never derived.
            raise ConfigError("a SPIFFE trust domain needs jwks_uri, its bundle endpoint, or jwks, its bundle")
    elif trust.issuer.startswith(_HTTPS):
        _check_url(trust.issuer)
    elif trust.jwks is None:
        # Such as kubernetes/serviceaccount in old clusters.
        raise ConfigError(f"an issuer that is no https URL needs jwks: nothing is fetched from {trust.issuer[:100]}")


def _check_url(issuer: str) -> None:
    """Raise ConfigError unless this is an https URL without query and fragment (RFC 8414 section 2)."""
    try:
        jwks_uri.parse(issuer)
    except ValueError as error:
        raise ConfigError(f"issuer must be an https URL ({error})") from None
    if "?" in issuer:
        raise ConfigError("issuer must be an https URL without a query")


def _shares_keys(one: Trust, other: Trust) -> bool:
    if one.jwks is not None and other.jwks is not None:
        return not _thumbprints(one).isdisjoint(_thumbprints(other))
    # Uploaded and fetched keys cannot be compared here: a token under a key of both is refused as ambiguous.
    return one.jwks is None and other.jwks is None and _address(one) == _address(other)


@lru_cache(maxsize=2 * MAX_TRUSTS)  # a plan compares each trust with all others
def _thumbprints(trust: Trust) -> frozenset[str]:
    return frozenset(key.thumbprint for key in read_uploaded(trust).keys)


def _address(trust: Trust) -> str:
    """Return the URL from which the keys are found."""
    return trust.jwks_uri or trust.discovery_url or trust.issuer.rstrip("/") + names.WELL_KNOWN_OPENID
