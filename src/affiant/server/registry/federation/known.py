"""The trusts and rules of the store, prepared to judge tokens; the directory prepares them again after a change."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from affiant.errors import ConfigError
from affiant.jose.key_set import KeySet
from affiant.jose.strict_json import parse_object
from affiant.oauth.federation import spiffe_id
from affiant.oauth.federation.conditions import find, holds
from affiant.oauth.federation.trusted_token import TokenRules
from affiant.server.registry.federation.index import RuleIndex
from affiant.storage.records import ClaimCondition, Rule, Trust

FOLLOWED = "affiant"  # the preset of other affiant servers
log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnownTrust:
    """A trust with its rules, enabled or not; those of a trust that is not enabled never match."""

    record: Trust
    rules: tuple[Rule, ...]
    index: RuleIndex
    token_rules: TokenRules
    keys: KeySet | None  # uploaded ones; None: they are fetched

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def follows(self) -> bool:
        """Whether the issuer is another affiant server, whose revocations count here."""
        return self.record.preset == FOLLOWED

    def find_refused(self, claims: dict[str, object]) -> ClaimCondition | None:
        """Return the condition for which the trust refuses a token with these claims, or None."""
        return next((one for one in self.record.refuses if meets(claims, one)), None)

    def match(self, claims: dict[str, object]) -> list[Rule]:
        """Return the enabled rules whose conditions these claims meet."""
        return self.index.match(claims)


class Federation:
    """The trusts by issuer. Several may have one issuer, each with keys of its own: clusters often do."""

    def __init__(
        self, issuer: str, trusts: Iterable[Trust] = (), rules: Iterable[Rule] = (), *, restored_at: int | None = None
    ) -> None:
        by_trust: dict[str, list[Rule]] = {}
        for rule in rules:
            by_trust.setdefault(rule.trust, []).append(rule)
        self._by_issuer: dict[str, list[KnownTrust]] = {}
        for trust in trusts:
            if trust.issuer == issuer:
                # Attack: an access token of this server comes back as a platform's, and gets a new lifetime.
                log.error("trust %s is left out: its issuer is this server itself", trust.name)
                continue
            known = _prepare(trust, tuple(by_trust.get(trust.name, ())), issuer, restored_at)
            self._by_issuer.setdefault(trust.issuer, []).append(known)

    def find(self, issuer: str) -> Sequence[KnownTrust]:
        """Return the trusts of this issuer, enabled or not."""
        return self._by_issuer.get(issuer, ())

    def with_keys(self, keys: KeySet) -> Federation:
        """Return the same trusts and rules, each trust with these keys; none is fetched."""
        found = Federation("")
        found._by_issuer = {
            issuer: [replace(known, keys=keys) for known in group] for issuer, group in self._by_issuer.items()
        }
        return found

    @property
    def trusts(self) -> list[KnownTrust]:
        return [known for group in self._by_issuer.values() for known in group]


def meets(claims: dict[str, object], condition: ClaimCondition) -> bool:
    """Whether the claims meet a condition."""
    return holds(find(claims, condition.claim), condition.values)


def _prepare(trust: Trust, rules: tuple[Rule, ...], issuer: str, restored_at: int | None) -> KnownTrust:
    token_rules = TokenRules(
        issuer=trust.issuer,
        audiences=trust.audiences or (issuer, f"{issuer}/token"),
        several_audiences=trust.several_audiences,
        max_lifetime=trust.max_lifetime,
        replay=trust.replay,
        made_after=restored_at,
    )
    return KnownTrust(trust, rules, RuleIndex(rules), token_rules, _uploaded(trust))


def read_uploaded(trust: Trust) -> KeySet:
    """Return the usable keys of the uploaded JWK Set; raise ConfigError or ValueError if it has none."""
    return _parse(trust.jwks or "", is_bundle=spiffe_id.is_domain(trust.issuer))


def _uploaded(trust: Trust) -> KeySet | None:
    if trust.jwks is None:
        return None
    try:
        return read_uploaded(trust)
    except (ConfigError, ValueError):
        # A set that an older version accepted and this one does not stops its own trust alone.
        log.exception("the uploaded keys of trust %s cannot be read", trust.name)
        return KeySet(())


@lru_cache(maxsize=1024)
def _parse(jwks: str, *, is_bundle: bool) -> KeySet:
    # Each change of the store prepares every trust again, and reading an RSA key takes over a millisecond.
    return KeySet.parse_given(parse_object(jwks.encode()), is_bundle=is_bundle)
