"""The trusts and rules of the store, ready to judge tokens; made again when the store changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from affiant.jose.key_set import KeySet
from affiant.jose.strict_json import parse_object
from affiant.oauth.federation.conditions import find, holds
from affiant.oauth.federation.trusted_token import TokenRules
from affiant.server.registry.federation.index import RuleIndex
from affiant.storage.records import ClaimCondition, Rule, Trust


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
            known = _prepare(trust, tuple(by_trust.get(trust.name, ())), issuer, restored_at)
            self._by_issuer.setdefault(trust.issuer, []).append(known)

    def find(self, issuer: str) -> Sequence[KnownTrust]:
        """Return the trusts of this issuer, enabled or not."""
        return self._by_issuer.get(issuer, ())

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
    keys = KeySet.parse_given(parse_object(trust.jwks.encode())) if trust.jwks is not None else None
    return KnownTrust(trust, rules, RuleIndex(rules), token_rules, keys)
