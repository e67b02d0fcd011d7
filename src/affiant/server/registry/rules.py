"""Registering clients and APIs: what may be registered, whoever asks."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from affiant.errors import ConfigError
from affiant.jose import base64url
from affiant.jose.algorithms import ASYMMETRIC, SYMMETRIC
from affiant.oauth import names, resource_indicator, scope
from affiant.server.client_auth.ladder import METHODS
from affiant.server.registry import client_keys
from affiant.server.registry.directory import GUIDE, secret_purpose
from affiant.storage.records import Api, Client, StoredSecret

if TYPE_CHECKING:
    from affiant.jose.keys import PublicKey
    from affiant.server.keys.master_key import MasterKey

GRANT_TYPES = (names.CLIENT_CREDENTIALS, names.REFRESH_TOKEN, names.JWT_BEARER)
DPOP_POLICIES = ("optional", "required")
_CLIENT_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_SECRET_BYTES = 32


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
) -> Registered:
    """A client that may be stored.

    Args:
        client_id: 1 to 64 of ``A-Z a-z 0-9 . _ ~ -``.
        auth_method: its token_endpoint_auth_method.
        master_key: seals or digests its secret.
        now: seconds since the epoch.
        alg: the one algorithm it may sign with.
        keys: for private_key_jwt.
        scopes: the names it may ask for.
        resources: the identifiers it may ask for; empty for the default API only.
        grant_types: client_credentials when empty.
        introspects: the identifiers of the APIs that it is, or speaks for.
        profile: ``guide``, or none.
        dpop: ``required`` where every token must be bound to a key (RFC 9449), or ``optional``.

    Raises:
        ConfigError: it may not be registered so; the message says what to change.
    """
    if _CLIENT_ID.fullmatch(client_id) is None:
        raise ConfigError("a client's name is 1 to 64 of the characters A-Z a-z 0-9 . _ ~ -")
    auth_method, alg = _check_method(auth_method, alg, profile)
    _check_grants(grant_types)
    _check_keys(auth_method, keys, alg)
    secret, stored = _make_secret(client_id, auth_method, alg, master_key, now)
    client = Client(
        client_id=client_id,
        token_endpoint_auth_method=auth_method,
        token_endpoint_auth_signing_alg=alg,
        keys=client_keys.add((), [client_keys.build(key, now=now) for key in keys], now=now),
        secrets=stored,
        grant_types=grant_types or (names.CLIENT_CREDENTIALS,),
        scope=check_scopes(scopes),
        resources=tuple(map(check_identifier, resources)),
        introspects=tuple(map(check_identifier, introspects)),
        profile=profile,
        dpop_bound_access_tokens=_is_bound(dpop),
        created_at=now,
    )
    return Registered(client, secret)


def change_client(
    standing: Client,
    *,
    now: int,
    keys: tuple[PublicKey, ...] | None = None,
    scope: tuple[str, ...] = (),
    resources: tuple[str, ...] = (),
    grant_types: tuple[str, ...] = (),
    introspects: tuple[str, ...] = (),
    observe: tuple[str, ...] = (),
    enforce: tuple[str, ...] = (),
    dpop: str | None = None,
    **policies: str | None,
) -> Client:
    """The client with these changes; what is empty or None stays as it is.

    Args:
        standing: the client as it is.
        now: seconds since the epoch.
        keys: its public keys, all of them; others are revoked.
        scope: the names it may ask for.
        resources: the identifiers it may ask for.
        grant_types: its grants.
        introspects: the identifiers of the APIs that it is, or speaks for.
        observe: rules of assertion.RULES to be observed from now on.
        enforce: rules to be enforced from now on.
        dpop: ``required`` or ``optional``.
        policies: audience_policy, typ_policy, lifetime_policy, jti_policy.

    Raises:
        ConfigError: it may not be registered so.
    """
    _check_grants(grant_types)
    if keys is not None:
        _check_keys(standing.token_endpoint_auth_method, keys, standing.token_endpoint_auth_signing_alg)
    changes: dict[str, Any] = {
        "keys": client_keys.put(standing.keys, keys, now=now) if keys is not None else None,
        "scope": check_scopes(scope),
        "resources": tuple(map(check_identifier, resources)),
        "grant_types": grant_types,
        "introspects": tuple(map(check_identifier, introspects)),
        **policies,
    }
    bound = _is_bound(dpop) if dpop else standing.dpop_bound_access_tokens
    observed = tuple(sorted({*standing.observe, *observe} - set(enforce)))
    standing = replace(standing, observe=observed, dpop_bound_access_tokens=bound)
    return replace(standing, **{name: value for name, value in changes.items() if value})


def build_api(name: str, *, identifier: str, scopes: tuple[str, ...], is_default: bool, now: int) -> Api:
    """An API that may be stored.

    Raises:
        ConfigError: its identifier or a scope cannot be registered.
    """
    return Api(check_identifier(identifier), name, check_scopes(scopes), is_default, now)


def check_scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """The names, when each is a scope-token (RFC 6749 section 3.3).

    Raises:
        ConfigError: one is not.
    """
    try:
        return scope.parse(" ".join(scopes)) if scopes else ()
    except ValueError:
        raise ConfigError(
            'a scope is a name of printable ASCII without space, " and \\; a client has at most 64'
        ) from None


def check_identifier(text: str) -> str:
    """The identifier, when it can be a resource indicator (RFC 8707 section 2).

    Raises:
        ConfigError: it cannot.
    """
    try:
        return resource_indicator.parse(text)
    except ValueError:
        raise ConfigError(
            f"{text[:100]!r} is not an absolute URI without a fragment, such as https://api.example"
        ) from None


def _is_bound(dpop: str) -> bool:
    if dpop not in DPOP_POLICIES:
        raise ConfigError(f"dpop is one of: {', '.join(DPOP_POLICIES)}")
    return dpop == "required"


def _check_method(auth_method: str, alg: str | None, profile: str | None) -> tuple[str, str | None]:
    if profile not in (None, GUIDE):
        raise ConfigError(f"there is one profile: {GUIDE}")
    if auth_method not in METHODS:
        raise ConfigError(f"a client authenticates by one of: {', '.join(METHODS)}")
    if profile == GUIDE and (auth_method != names.CLIENT_SECRET_JWT or alg not in (None, "HS256")):
        raise ConfigError(
            "a client with the guide profile authenticates by client_secret_jwt with HS256, and no other way"
        )
    if auth_method == names.CLIENT_SECRET_JWT:
        alg = alg or "HS256"
    allowed = {names.PRIVATE_KEY_JWT: ASYMMETRIC, names.CLIENT_SECRET_JWT: SYMMETRIC}.get(auth_method, ())
    if alg is not None and alg not in allowed:
        raise ConfigError(f"{auth_method} takes {'one of: ' + ', '.join(allowed) if allowed else 'no algorithm'}")
    return auth_method, alg


def _check_grants(grant_types: tuple[str, ...]) -> None:
    unknown = [name for name in grant_types if name not in GRANT_TYPES]
    if unknown:
        raise ConfigError(f"a client's grants are among: {', '.join(GRANT_TYPES)}")


def _check_keys(auth_method: str, keys: tuple[PublicKey, ...], alg: str | None) -> None:
    if (auth_method == names.PRIVATE_KEY_JWT) != bool(keys):
        needs = "needs a public key" if not keys else "takes no public key"
        raise ConfigError(f"{auth_method} {needs}")
    if alg is not None and keys and not any(alg in key.algorithms for key in keys):
        raise ConfigError(f"no key of the client fits {alg}")


def _make_secret(
    client_id: str, auth_method: str, alg: str | None, master_key: MasterKey, now: int
) -> tuple[str | None, tuple[StoredSecret, ...]]:
    if auth_method == names.PRIVATE_KEY_JWT:
        return None, ()
    size = {"HS384": 48, "HS512": 64}.get(alg or "", _SECRET_BYTES)
    secret = base64url.encode(secrets.token_bytes(size))
    if auth_method == names.CLIENT_SECRET_JWT:
        # The MAC key must be recoverable, so it is sealed (RFC 7523 needs the secret itself).
        sealed = master_key.seal(secret.encode(), purpose=secret_purpose(client_id))
        return secret, (StoredSecret(None, sealed, now, None, _new_id()),)
    return secret, (StoredSecret(master_key.digest(secret), None, now, None, _new_id()),)


def _new_id() -> str:
    return secrets.token_hex(8)
