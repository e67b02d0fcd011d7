"""The members of a trust and of a rule: one row each, by its name on the wire (see registry/fields.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from affiant.jose.algorithms import ASYMMETRIC
from affiant.oauth.federation import conditions, trusted_token
from affiant.oauth.federation.conditions import Scalar
from affiant.server.registry import kinds
from affiant.server.registry.fields import OWNED, By, Member, Table
from affiant.server.registry.kinds import Choice, Names, Text
from affiant.storage.records import Rule, Trust

MAX_COPIED = 8
NAME = kinds.NAME


@dataclass(frozen=True, slots=True)
class ConditionsMember(Member):
    """A member whose value is conditions."""

    def get(self, record: Any) -> Any:
        return {condition.claim: list(condition.values) for condition in getattr(record, self.name)}


@dataclass(frozen=True, slots=True)
class KeysMember(Member):
    """A member whose value is a JWK Set."""

    def get(self, record: Any) -> Any:
        return json.loads(record.jwks) if record.jwks is not None else None


@dataclass(frozen=True, slots=True)
class LifetimeMember(Member):
    """A member whose 0 means the default lifetime."""

    def assign(self, typed: Any) -> dict[str, Any]:
        return {self.name: typed or trusted_token.DEFAULT_LIFETIME}

    def shown(self, value: Any) -> Any:
        return value or trusted_token.DEFAULT_LIFETIME


def option_values(found: Mapping[str, Sequence[Scalar]]) -> list[str]:
    """Return conditions as their options have them: CLAIM=TEXT, or CLAIM:=VALUE for true, false and whole numbers."""
    pairs = [(claim, value) for claim, values in found.items() for value in values]
    return [f"{claim}={one}" if isinstance(one, str) else f"{claim}:={json.dumps(one)}" for claim, one in pairs]


def _check_claim(text: str) -> None:
    conditions.check_claim(text)


TRUST = Table[Trust](
    Member("issuer", kinds.ISSUER, "iss of its tokens; spiffe://DOMAIN for a SPIFFE trust domain", by=By.NEW,
           source="RFC 7523 3", option="--issuer", metavar="URL"),
    Member("preset", NAME, "the platform whose checks apply; generic for any other issuer", by=By.NEW,
           option="--preset", metavar="NAME"),
    Member("discovery_url", kinds.JWKS_URI, "https URL of its metadata, where that is not below the issuer",
           source="RFC 8414 3", option="--discovery-url", metavar="URL"),
    Member("jwks_uri", kinds.JWKS_URI, "https URL of its keys, instead of metadata; for SPIFFE the bundle endpoint",
           source="RFC 8414 2", option="--jwks-uri", metavar="URL"),
    KeysMember("jwks", kinds.JWKS, "its JWK Set, where this server cannot fetch it",
               source="RFC 7517 5", option="--jwks", metavar="FILE"),
    Member("ca", kinds.CERTIFICATES, "PEM certificates, the only authorities for the host of its keys; empty for those"
           " of the system", option="--ca", metavar="FILE"),
    Member("audiences", Names(kinds.VISIBLE, most=8),
           "values of which aud must have one; the issuer identifier or token endpoint of this server when empty",
           source="RFC 7523 3", option="--audience", metavar="AUD"),
    Member("several_audiences", kinds.FLAG, "whether aud may have other values too",
           option="--several-audiences"),
    Member("algorithms", Names(Choice(ASYMMETRIC), most=len(ASYMMETRIC)), "algorithms of its tokens; any that its keys"
           " fit when empty", source="RFC 8725 3.1", option="--alg", metavar="ALG"),
    LifetimeMember("max_lifetime", kinds.seconds(most=trusted_token.MAX_LIFETIME, without="the usual 3600"),
                   "longest time from iat to exp in seconds; 0 for 3600", option="--max-lifetime", metavar="SECONDS"),
    Member("replay", Choice(trusted_token.REPLAYS), "once: each token has a jti, and is taken once; if-present: one"
           " with a jti is taken once; reused: as often as it comes", source="RFC 7523 3", option="--replay"),
    ConditionsMember("refuses", kinds.CONDITIONS, "conditions; a token that meets one of them gets nothing",
                     option="--refuse", metavar="CLAIM=VALUE"),
    *OWNED,
    Member("enabled", kinds.FLAG, "whether its tokens are taken; when false, the tokens that they gave end"),
)  # fmt: skip
RULE = Table[Rule](
    Member("trust", NAME, "the trust whose tokens it is for", by=By.NEW, option="--trust", metavar="NAME"),
    Member("client_id", kinds.CLIENT_ID, "the client that such a token speaks for", by=By.NEW, option="--client",
           metavar="CLIENT_ID"),
    ConditionsMember("conditions", kinds.CONDITIONS, "claims, each with the values of which it must have one; a text"
                     " may end in * (more, up to the next : or /) or in ** (any more)", option="--when",
                     metavar="CLAIM=VALUE"),
    Member("resources", kinds.APIS, "APIs that it gives at most; all of the client's when empty",
           option="--resource", metavar="URL"),
    Member("scope", kinds.SCOPE, "scopes that it gives at most; all of the client's when empty", option="--scope",
           metavar="S"),
    Member("access_token_lifetime", kinds.LIFETIME, "longest lifetime of its access tokens in seconds; 0 for that of"
           " the client and the API", option="--access-token-lifetime", metavar="SECONDS"),
    Member("copied_claims", Names(Text(_check_claim, longest=conditions.MAX_CLAIM), most=MAX_COPIED),
           "claims that go into the src of the access token", option="--copy-claim", metavar="CLAIM"),
    Member("names_only", kinds.FLAG, "whether it may rest on names that another tenant could take over",
           option="--names-only"),
    Member("enabled", kinds.FLAG, "whether it gives tokens; when false, those that it gave end"),
)  # fmt: skip
