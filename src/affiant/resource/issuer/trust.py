"""The issuers that a guard trusts: the rules of each, and what the guard has of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace

from affiant.errors import ConfigError
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.claims import media_type
from affiant.oauth import names
from affiant.oauth.access_token import RFC_9068, Accepted, ClaimRules
from affiant.oauth.metadata import Reach, check_issuer
from affiant.oauth.parameters import scope
from affiant.resource import options
from affiant.resource.issuer import offline
from affiant.resource.issuer.introspect import Introspected, Introspection
from affiant.resource.issuer.keys import IssuerKeys
from affiant.resource.issuer.offline import Keys, OfflineKeys
from affiant.resource.issuer.remote import Http, RemoteIssuer
from affiant.resource.issuer.revocations import POLICIES, Followed

log: logging.Logger = logging.getLogger(__name__)

# JWTs that are no access tokens, whatever an operator writes.
_OTHER_TYPES = frozenset({
    names.CLIENT_ASSERTION_TYP, names.DPOP_TYP, names.INTROSPECTION_TYP, names.REVOCATIONS_TYP, names.TXN_TOKEN_TYP,
    "logout+jwt",
})  # fmt: skip


@dataclass(frozen=True, slots=True, repr=False)
class Issuer:
    """An issuer whose access tokens a guard accepts.

    Attributes:
        identifier: the claim ``iss`` of its tokens and the ``issuer`` of its metadata, exactly; a slash at the end
            belongs to it.
        algorithms: of the tokens' signatures (RFC 7518 names); asymmetric ones only. The metadata of an issuer have no
            member for them: `id_token_signing_alg_values_supported` is about ID tokens. Each key of the issuer fits
            the algorithms of its kind alone.
        accept_typ: the ``typ`` that a token may have in its header; None is a token without it. Anything but
            ``at+jwt`` may be another JWT of this issuer, so require a claim that only access tokens have.
        claims: where the tokens differ from RFC 9068.
        clients: the only clients whose tokens are accepted; with a dict, the scopes that each has, whatever the token
            says.
        jwks: its keys, which are then not fetched: a JWK Set, its text, or the path of a file, which is read once.
        reach: where the guard reaches the issuer, such as ``https://as.internal:8377``, if that is not where its
            identifier says. It replaces scheme, host and port of the issuer's addresses; ``iss`` stays as it is.
        unsafe_reach: the same, and http is allowed. Attack: a machine between the two sends keys of its own, and with
            them any token is accepted. Only for a network in which all machines are trusted.
        revocations: ``optional``, ``required`` or ``off``, as in `Guard`; ``off`` if left out with `jwks`.
        introspection: how to ask the issuer about each token.

    Raises:
        ConfigError: one of them is impossible.
    """

    identifier: str
    _: KW_ONLY
    algorithms: Sequence[str] = ASYMMETRIC
    accept_typ: Sequence[str | None] = (names.ACCESS_TOKEN_TYP,)
    claims: ClaimRules = RFC_9068
    clients: Collection[str] | Mapping[str, str] | None = None
    jwks: offline.Given | None = field(default=None, compare=False)
    reach: str | None = None
    unsafe_reach: str | None = None
    revocations: str | None = None
    introspection: Introspection | None = None

    def __post_init__(self) -> None:
        _check_identifier(self.identifier)
        options.check_algorithms("algorithms", self.algorithms)
        _check_types(self.accept_typ)
        _check_claims(self.claims, self.clients)
        _clients(self.clients)
        _reach(self)
        if self.revocations is not None and self.revocations not in POLICIES:
            raise ConfigError(f"revocations= is one of: {', '.join(POLICIES)}")
        if not isinstance(self.introspection, Introspection | None):
            raise ConfigError(f"introspection= is an Introspection, not {type(self.introspection).__name__}")

    def __repr__(self) -> str:
        return f"Issuer({self.identifier!r}, {self.describe()})"

    def describe(self) -> str:
        """Return one line for people: what tokens of this issuer need not have, and where their claims are."""
        rules = self.claims
        found = [f"typ {typ or 'absent'}" for typ in self.accept_typ if typ != names.ACCESS_TOKEN_TYP]
        found += [f"no {name}" for name in sorted(rules.waived)]
        standard = (("client_id", rules.client_id), ("sub", rules.sub), ("jti", rules.jti), ("scope", rules.scope))
        found += [f"{name} from {' or '.join(among) or 'no claim'}" for name, among in standard if among != (name,)]
        return "; ".join(found) or "of RFC 9068"


@dataclass(frozen=True, slots=True)
class Trusted:
    """An issuer whose tokens are accepted, with what it publishes."""

    accepted: Accepted
    algorithms: frozenset[str]
    remote: RemoteIssuer
    keys: Keys
    revocations: Followed
    introspected: Introspected | None

    def warm_up(self) -> None:
        """Begin to fetch the keys, and to follow the revocations once they have come."""
        self.keys.begin(self.revocations.is_ready)


def parse(
    given: str | Issuer | Sequence[str | Issuer],
    *,
    algorithms: Sequence[str] | None,
    revocations: str | None,
    introspection: Introspection | None,
) -> tuple[Issuer, ...]:
    """Return the issuers of a guard; the options are for one that is given by its identifier alone."""
    if isinstance(given, str):
        chosen = ASYMMETRIC if algorithms is None else algorithms
        return (Issuer(given, algorithms=chosen, revocations=revocations, introspection=introspection),)
    several = (given,) if isinstance(given, Issuer) else given
    if not isinstance(several, list | tuple) or not several:
        seen = "an empty one" if isinstance(several, list | tuple) else type(given).__name__
        raise ConfigError(f"issuer= is a URL, an Issuer or a list of them, not {seen}")
    if not (algorithms is None and revocations is None and introspection is None):
        raise ConfigError("algorithms=, revocations= and introspection= belong into each Issuer(...)")
    found = tuple(one if isinstance(one, Issuer) else Issuer(one) for one in several)
    identifiers = [one.identifier for one in found]
    for identifier in identifiers:
        if identifiers.count(identifier) > 1:  # one would be ignored
            raise ConfigError(f"the guard has the issuer {identifier!r} twice")
    # Attack: a token is sent to an issuer that did not make it, and which may then use it.
    if sum(one.introspection is not None and one.introspection.opaque for one in found) > 1:
        raise ConfigError("one issuer alone may have opaque=True: an opaque token does not say whose it is")
    return found


def faked(given: str | Issuer | Sequence[str | Issuer]) -> str | list[str | Issuer]:
    """Return the issuers as affiant.testing takes their place: their tokens are then of RFC 9068, with other keys."""
    if isinstance(given, str):
        return given
    several = (given,) if isinstance(given, Issuer) else given
    return [_fake(one) if isinstance(one, Issuer) else one for one in several]


def _fake(issuer: Issuer) -> Issuer:
    typ, claims = (names.ACCESS_TOKEN_TYP,), RFC_9068
    return replace(issuer, accept_typ=typ, claims=claims, jwks=None, reach=None, unsafe_reach=None)


def trust(issuer: Issuer, audiences: Sequence[str], *, http: Http | None, clock: Callable[[], float]) -> Trusted:
    """Return what a guard needs to check the tokens of this issuer for the API with these identifiers."""
    remote = RemoteIssuer(issuer.identifier, http=http, clock=clock, reach=_reach(issuer))
    keys: Keys = IssuerKeys(remote, clock=clock)
    if issuer.jwks is not None:
        keys = OfflineKeys(offline.read(issuer.jwks))
    types = frozenset(media_type(typ) for typ in issuer.accept_typ)
    accepted = Accepted(
        issuer.identifier, frozenset(audiences), types, rules=issuer.claims, clients=_clients(issuer.clients)
    )
    introspected = None
    if issuer.introspection is not None:
        introspected = Introspected(remote, keys, issuer.introspection, accepted=accepted, clock=clock)
    policy = issuer.revocations or ("off" if issuer.jwks is not None else "optional")
    if tuple(issuer.accept_typ) != (names.ACCESS_TOKEN_TYP,) or issuer.claims is not RFC_9068:
        log.info("a guard trusts %r", issuer)
    followed = Followed(remote, keys, policy=policy, clock=clock)
    return Trusted(accepted, frozenset(issuer.algorithms), remote, keys, followed, introspected)


def _check_identifier(identifier: object) -> None:
    if not isinstance(identifier, str):
        raise ConfigError(f"an issuer is the URL of its metadata, a str, not {type(identifier).__name__}")
    try:
        check_issuer(identifier)
    except ValueError as error:
        raise ConfigError(f"{identifier!r} cannot be an issuer: {error}") from None


def _check_types(types: Sequence[str | None]) -> None:
    options.check_list("accept_typ", [typ or "" for typ in types] if isinstance(types, list | tuple) else types)
    if not types or "" in types:
        raise ConfigError("accept_typ= takes one typ or more; None is a token without it")
    if other := _OTHER_TYPES.intersection(map(media_type, types)):
        raise ConfigError(f"accept_typ={min(filter(None, other))!r} is not the typ of an access token")


def _check_claims(rules: ClaimRules, clients: object) -> None:
    if not isinstance(rules, ClaimRules):
        raise ConfigError(f"claims= is a ClaimRules, not {type(rules).__name__}")
    # Attack: another API of the same issuer presents the tokens of its callers here.
    if "aud" in rules.waived and clients is None:
        raise ConfigError("without aud, clients= must name the clients: any token of the issuer would be accepted")


def _clients(given: Collection[str] | Mapping[str, str] | None) -> Mapping[str, frozenset[str] | None] | None:
    if given is None:
        return None
    options.check_list("clients", given)
    if not given or "" in given:
        raise ConfigError("clients= names one client or more")
    if not isinstance(given, Mapping):
        return dict.fromkeys(given)
    try:
        return {client: frozenset(scope.parse(text) if text else ()) for client, text in given.items()}
    except (ValueError, AttributeError, TypeError):
        raise ConfigError("clients= takes scopes as text, separated by spaces") from None


def _reach(issuer: Issuer) -> Reach:
    try:
        return Reach.of(issuer.identifier, issuer.reach, issuer.unsafe_reach)
    except ValueError as error:
        raise ConfigError(str(error)) from None
