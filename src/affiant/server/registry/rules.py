"""Registering clients and APIs: what may be registered, whoever asks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from affiant.errors import ConfigError
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.keys import PublicKey
from affiant.oauth import names
from affiant.oauth.binding.subject import check_subject
from affiant.oauth.parameters import authorization_details, resource_indicator, scope
from affiant.server.credentials import keys as client_keys
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import methods, profiles
from affiant.server.registry.profiles import Demands
from affiant.storage.entries import LONGEST_TOKEN
from affiant.storage.records import Api, Client

GRANT_TYPES = (names.CLIENT_CREDENTIALS, names.REFRESH_TOKEN, names.JWT_BEARER)
DPOP_POLICIES = ("optional", "required")
SERVERS_CHOICE = "default"  # what an API says that wants no algorithm of its own
SHORTEST_TOKEN = 10  # seconds, as in the settings
# RFC 6749 A.1 allows every visible character. These are the ones that occur in the ids of Keycloak, Kubernetes, SPIFFE,
# Google and Gluu, and in URLs. Others mean something to a reader of the id: % is another character once decoded, a hash
# ends a URL, quotes and brackets are for shells. RFC 3986 section 5.2.4: a segment . or .. is taken out of a path.
MAX_CLIENT_ID = 256
CLIENT_ID = re.compile(rf"(?!(?:.*/)?\.\.?(?:/|\Z))[A-Za-z0-9._~:/@+=,!?&-]{{1,{MAX_CLIENT_ID}}}")


@dataclass(frozen=True, slots=True)
class Registered:
    """A client as it will be stored, and its secret, which is shown this once."""

    client: Client
    client_secret: str | None = field(default=None, repr=False)


def build_client(
    client_id: str,
    *,
    auth_method: str,
    master_key: MasterKey,
    now: int,
    alg: str | None = None,
    keys: tuple[PublicKey, ...] = (),
    scopes: tuple[str, ...] = (),
    resources: tuple[str, ...] = (),
    grant_types: tuple[str, ...] = (),
    introspects: tuple[str, ...] = (),
    profile: str | None = None,
    dpop: str = "optional",
    demands: Demands = profiles.NONE,
    jwks_uri: str | None = None,
    **more: Any,
) -> Registered:
    """A client that may be stored."""
    _check_name(client_id)
    auth_method, alg = methods.check_method(auth_method, alg, profile, is_named=more.get("tls_subject") is not None)
    _check_grants(grant_types)
    methods.check_keys(auth_method, keys, alg, jwks_uri=jwks_uri)
    profiles.check(profile, auth_method, keys=keys, alg=alg, least=demands)
    secret_id = more.pop("client_secret_id", None)
    secret, stored = methods.make_secret(client_id, auth_method, alg, master_key, now, secret_id)
    client = Client(
        client_id=client_id,
        token_endpoint_auth_method=auth_method,
        token_endpoint_auth_signing_alg=alg,
        keys=client_keys.add((), [client_keys.build(key, now=now) for key in keys], now=now),
        jwks_uri=jwks_uri,
        secrets=stored,
        grant_types=grant_types or (names.CLIENT_CREDENTIALS,),
        **_reach(scopes, resources, introspects),
        profile=profile,
        dpop_bound_access_tokens=_is_bound(dpop),
        created_at=now,
        **_checked(auth_method, more),
    )
    return Registered(client, secret)


def change_client(
    standing: Client,
    *,
    now: int,
    keys: tuple[PublicKey, ...] | None = None,
    jwks_uri: str | None = None,
    scope: tuple[str, ...] | None = None,
    resources: tuple[str, ...] | None = None,
    grant_types: tuple[str, ...] = (),
    introspects: tuple[str, ...] | None = None,
    details_types: tuple[str, ...] | None = None,
    observe: tuple[str, ...] = (),
    enforce: tuple[str, ...] = (),
    dpop: str | None = None,
    profile: str | None = None,
    auth_method: str | None = None,
    access_token_lifetime: int | None = None,
    **policies: Any,
) -> Client:
    """The client with these changes; what is None stays as it is, and so do its grants when they are empty."""
    _check_grants(grant_types)
    if keys is not None or jwks_uri is not None:
        standing = methods.put_keys(standing, keys or (), jwks_uri, now)
    if access_token_lifetime is not None:
        standing = replace(standing, access_token_lifetime=check_lifetime(access_token_lifetime))
    standing = replace(standing, token_endpoint_auth_method=methods.change_method(standing, auth_method))
    types = {"authorization_details_types": check_types(details_types)} if details_types is not None else {}
    reach = {**_reach(scope, resources, introspects), **types}
    others = {"grant_types": grant_types, **_checked(standing.token_endpoint_auth_method, policies)}
    bound = _is_bound(dpop) if dpop else standing.dpop_bound_access_tokens
    observed = tuple(sorted({*standing.observe, *observe} - set(enforce)))
    held = profiles.change(standing.profile, profile)
    standing = replace(standing, observe=observed, dpop_bound_access_tokens=bound, profile=held)
    given: dict[str, Any] = {name: value for name, value in others.items() if value or value is False}
    changed = replace(standing, **given, **reach, **_registrable(standing, {**reach, **given}))
    live = [client_keys.parse(key.jwk) for key in client_keys.live(changed.keys, now)]
    alg = changed.token_endpoint_auth_signing_alg
    profiles.check(changed.profile, changed.token_endpoint_auth_method, keys=live, alg=alg)
    return changed


def build_api(
    name: str,
    *,
    identifier: str,
    scopes: tuple[str, ...],
    is_default: bool,
    now: int,
    details_types: tuple[str, ...] = (),
    signing_alg: str | None = None,
    access_token_lifetime: int | None = None,
    access_token_typ: str | None = None,
) -> Api:
    """An API that may be stored."""
    return Api(
        check_identifier(identifier),
        name,
        check_scopes(scopes),
        is_default,
        now,
        signing_alg=check_signing_alg(signing_alg),
        authorization_details_types=check_types(details_types),
        access_token_lifetime=check_lifetime(access_token_lifetime),
        access_token_typ=check_typ(access_token_typ or names.ACCESS_TOKEN_TYP),
    )


def change_api(
    standing: Api,
    *,
    name: str | None = None,
    scopes: tuple[str, ...] | None = None,
    signing_alg: str | None = None,
    details_types: tuple[str, ...] | None = None,
    is_default: bool = False,
    access_token_lifetime: int | None = None,
    access_token_typ: str | None = None,
) -> Api:
    """The API with these changes; what is None stays as it is."""
    chosen = standing.signing_alg if signing_alg is None else check_signing_alg(signing_alg)
    return replace(
        standing,
        name=name or standing.name,
        scopes=standing.scopes if scopes is None else check_scopes(scopes),
        signing_alg=chosen,
        authorization_details_types=standing.authorization_details_types
        if details_types is None
        else check_types(details_types),
        is_default=is_default or standing.is_default,
        access_token_lifetime=standing.access_token_lifetime
        if access_token_lifetime is None
        else check_lifetime(access_token_lifetime),
        access_token_typ=check_typ(access_token_typ or standing.access_token_typ),
    )


def check_lifetime(seconds: int | None) -> int | None:
    """Return the lifetime of access tokens in seconds, or None for the setting of the server."""
    if not seconds:
        return None
    if not SHORTEST_TOKEN <= seconds <= LONGEST_TOKEN:
        raise ConfigError(f"an access token lives {SHORTEST_TOKEN} to {LONGEST_TOKEN} seconds; 0 for the server's own")
    return seconds


def check_typ(typ: str) -> str:
    """Return the typ of an API's tokens."""
    if typ not in names.ACCESS_TOKEN_TYPES:
        raise ConfigError(f"the typ of an access token is one of: {', '.join(names.ACCESS_TOKEN_TYPES)}")
    return typ


def check_signing_alg(alg: str | None) -> str | None:
    """The algorithm that an API has chosen; None where it takes the server's own choice."""
    if alg is None or alg == SERVERS_CHOICE:
        return None
    if alg not in ASYMMETRIC:
        raise ConfigError(f"an API's tokens are signed with one of: {', '.join(ASYMMETRIC)}; or {SERVERS_CHOICE}")
    return alg


def _reach(
    scopes: tuple[str, ...] | None, resources: tuple[str, ...] | None, introspects: tuple[str, ...] | None
) -> dict[str, Any]:
    """What a client may ask for, without what is None."""
    given = {"resources": resources, "introspects": introspects}
    identifiers = {name: tuple(map(check_identifier, each)) for name, each in given.items() if each is not None}
    return {**({"scope": check_scopes(scopes)} if scopes is not None else {}), **identifiers}


def _registrable(standing: Client, said: dict[str, Any]) -> dict[str, Any]:
    """What an operator said last is what a client may register itself for, too: also when that is nothing."""
    bounds = {"scope": "scope", "authorization_details_types": "types", "grant_types": "grants"}
    by_itself = standing.registered_by is not None
    return {f"registration_{bounds[name]}": value for name, value in said.items() if by_itself and name in bounds}


def _checked(auth_method: str, given: dict[str, Any]) -> dict[str, Any]:
    """The fields of a Client for what is given of certificates and authorization_details; what else is given stays."""
    fields = dict(given)
    if "access_token_lifetime" in fields:
        fields["access_token_lifetime"] = check_lifetime(fields["access_token_lifetime"])
    subject, bound = fields.pop("tls_subject", None), fields.pop("certificate_bound", None)
    types = fields.pop("details_types", ())
    if subject is not None:
        if auth_method != names.TLS_CLIENT_AUTH:
            raise ConfigError(methods.ONE_NAME)
        fields["tls_subject"] = check_subject(*subject)
    if bound is not None:
        fields["tls_client_certificate_bound_access_tokens"] = _is_bound(bound)
    return {**fields, **({"authorization_details_types": check_types(types)} if types else {})}


def check_types(types: tuple[str, ...]) -> tuple[str, ...]:
    """The names, when each can be a type of authorization_details (RFC 9396 section 2), each once."""
    try:
        return tuple(dict.fromkeys(map(authorization_details.check_type, types)))
    except ValueError:
        raise ConfigError("a type of authorization_details is 1 to 256 printable ASCII characters, no space") from None


def is_client_id(text: str) -> bool:
    """Whether a client may have this name."""
    return CLIENT_ID.fullmatch(text) is not None


def check_scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """The names, each once, when each is a scope-token (RFC 6749 section 3.3)."""
    try:
        found = scope.parse(" ".join(scopes)) if scopes else ()
    except ValueError:
        found = None
    # Others come out of a name with a space in it: two, where one was meant, would be let in and not be noticed.
    if found != tuple(dict.fromkeys(scopes)):
        raise ConfigError('a scope is a name of printable ASCII without space, " and \\; a client has at most 64')
    return found


def check_identifier(text: str) -> str:
    """The identifier, when it can be a resource indicator (RFC 8707 section 2)."""
    try:
        return resource_indicator.parse(text)
    except ValueError as error:
        raise ConfigError(f"{text[:100]!r} is {error}") from None


def _check_name(client_id: str) -> None:
    if not is_client_id(client_id):
        raise ConfigError(
            f"a client's name is 1 to {MAX_CLIENT_ID} of the characters A-Z a-z 0-9 . _ ~ - : / @ + = , ! ? &,"
            " and not . or .., alone or between slashes"
        )


def _is_bound(dpop: str) -> bool:
    if dpop not in DPOP_POLICIES:
        raise ConfigError(f"whether tokens are bound is one of: {', '.join(DPOP_POLICIES)}")
    return dpop == "required"


def _check_grants(grant_types: tuple[str, ...]) -> None:
    unknown = [name for name in grant_types if name not in GRANT_TYPES]
    if unknown:
        raise ConfigError(f"a client's grants are among: {', '.join(GRANT_TYPES)}")
