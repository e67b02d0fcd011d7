"""Register and change clients: the rules that concern several members. Those of one member are in fields.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from affiant.errors import ConfigError
from affiant.jose.algorithms import ASYMMETRIC, SYMMETRIC
from affiant.jose.keys import PublicKey
from affiant.oauth import names
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import fields, kinds, profiles
from affiant.server.registry.credentials import keys as client_keys
from affiant.server.registry.credentials import secrets as client_secrets
from affiant.server.registry.profiles import GUIDE, Demands
from affiant.storage.records import Client, StoredSecret

_SAME_SECRET = (names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST)
# The operator's value limits a client that registered itself, from then on.
_BOUNDS = {
    "scope": "registration_scope",
    "authorization_details_types": "registration_types",
    "grant_types": "registration_grants",
}


@dataclass(frozen=True, slots=True)
class Registered:
    """A client as it will be stored, and the secret that was made for it."""

    client: Client
    client_secret: str | None = field(default=None, repr=False)


def build(
    wanted: Client,
    *,
    master_key: MasterKey,
    now: int,
    keys: tuple[PublicKey, ...] = (),
    source: str = "operator",
    demands: Demands = profiles.NONE,
    secret: client_secrets.Wanted | None = None,
) -> Registered:
    """Return the client with its keys or its secret; raise ConfigError if it cannot be registered.

    `demands` are those of the server on every client; with their certificates (x5c), `keys` are also for
    self_signed_tls_client_auth.
    """
    kinds.read("client_id", kinds.CLIENT_ID, wanted.client_id)
    wanted = fields.CLIENT.check(wanted)
    method, alg = wanted.token_endpoint_auth_method, _signing_alg(wanted)
    _check_subject(wanted)
    if wanted.blueprint is not None:
        _check_blueprint(wanted, has_keys=bool(keys))
    else:
        _check_keys(method, alg, keys, wanted.jwks_uri)
    profiles.check(wanted.profile, method, keys=keys, alg=alg, least=demands)
    text, secrets = _make_secret(wanted.client_id, method, alg, master_key, now, secret)
    client = replace(
        wanted,
        token_endpoint_auth_signing_alg=alg,
        keys=client_keys.add((), [client_keys.build(key, now=now, source=source) for key in keys], now=now),
        secrets=secrets,
        created_at=now,
    )
    return Registered(client, text)


def change(
    stored: Client, members: Mapping[str, object], *, now: int, keys: tuple[PublicKey, ...] | None = None
) -> Client:
    """Return the client with these members; raise ConfigError if it cannot be registered so.

    `keys` replace its present ones, which are revoked. With the member `jwks_uri`, those registered here are removed.
    """
    values = fields.CLIENT.read(members)
    _check_change(stored, values)
    bounds = {_BOUNDS[name]: value for name, value in values.items() if name in _BOUNDS}
    changed = replace(stored, **values, **(bounds if stored.registered_by is not None else {}))
    if stored.blueprint is not None:
        _check_blueprint(changed, has_keys=keys is not None)
    if keys is not None or "jwks_uri" in values:
        changed = _put_keys(changed, keys or (), values.get("jwks_uri"), now)
    _check_subject(changed)
    method, alg = changed.token_endpoint_auth_method, changed.token_endpoint_auth_signing_alg
    live = [client_keys.parse(key.jwk) for key in client_keys.live(changed.keys, now)]
    profiles.check(changed.profile, method, keys=live, alg=alg)
    return changed


def _signing_alg(wanted: Client) -> str | None:
    """Return the only algorithm of its assertions; None for any that its keys fit."""
    method, alg = wanted.token_endpoint_auth_method, wanted.token_endpoint_auth_signing_alg
    if wanted.profile == GUIDE and (method != names.CLIENT_SECRET_JWT or alg not in (None, "HS256")):
        raise ConfigError("a client with the guide profile authenticates by client_secret_jwt with HS256 only")
    allowed = {names.PRIVATE_KEY_JWT: ASYMMETRIC, names.CLIENT_SECRET_JWT: SYMMETRIC}.get(method, ())
    if alg is not None and alg not in allowed:
        raise ConfigError(f"{method} takes {'one of: ' + ', '.join(allowed) if allowed else 'no algorithm'}")
    return "HS256" if alg is None and method == names.CLIENT_SECRET_JWT else alg


def _check_subject(client: Client) -> None:
    if (client.token_endpoint_auth_method == names.TLS_CLIENT_AUTH) != (client.tls_subject is not None):
        raise ConfigError("tls_client_auth needs one name of the certificate (tls_client_auth_*), other methods none")


def _check_blueprint(client: Client, *, has_keys: bool) -> None:
    """Raise ConfigError unless the client can authenticate with the keys of its blueprint."""
    if client.token_endpoint_auth_method != names.PRIVATE_KEY_JWT:
        raise ConfigError(f"a client with a blueprint authenticates by {names.PRIVATE_KEY_JWT}, with the keys of that")
    if has_keys or client.jwks_uri is not None:
        raise ConfigError(f"{client.client_id} has the keys of its blueprint {client.blueprint}: leave its own out")
    # Its refresh tokens would live on when the blueprint is disabled and enabled again.
    if names.REFRESH_TOKEN in client.grant_types:
        raise ConfigError("a client with a blueprint gets no refresh tokens")


def check_holder(client: Client, blueprint: Client | None) -> None:
    """Raise ConfigError if this client cannot be the blueprint of the other one."""
    if blueprint is None:
        raise ConfigError(f"there is no client {client.blueprint} to be the blueprint: register it first")
    if blueprint.blueprint is not None:
        raise ConfigError(f"{blueprint.client_id} has a blueprint, and cannot be one: name {blueprint.blueprint}")
    if blueprint.token_endpoint_auth_method != names.PRIVATE_KEY_JWT or blueprint.jwks_uri is not None:
        raise ConfigError(f"a blueprint authenticates by {names.PRIVATE_KEY_JWT} with keys that are registered here")


def _check_keys(method: str, alg: str | None, keys: tuple[PublicKey, ...], jwks_uri: str | None) -> None:
    if keys and jwks_uri is not None:
        raise ConfigError("give either public keys or jwks_uri, not both")
    has_keys = bool(keys) or jwks_uri is not None
    if (method in names.BY_KEYS) != has_keys:
        raise ConfigError(f"{method} {'takes no public key' if has_keys else 'needs a public key'}")
    if method == names.SELF_SIGNED_TLS_CLIENT_AUTH and any(key.certificate is None for key in keys):
        raise ConfigError(f"{method} needs the certificate of each key, in x5c: --certificate FILE")
    if alg is not None and keys and not any(alg in key.algorithms for key in keys):
        raise ConfigError(f"no key of the client fits {alg}")


def _make_secret(
    client_id: str,
    method: str,
    alg: str | None,
    master_key: MasterKey,
    now: int,
    wanted: client_secrets.Wanted | None,
) -> tuple[str | None, tuple[StoredSecret, ...]]:
    if method not in names.BY_SECRET:
        if wanted is not None and wanted != client_secrets.Wanted():
            raise ConfigError(f"{method} has no secret, and takes no client_secret and no client_secret_id")
        return None, ()
    made, stored = client_secrets.make(
        client_id, auth_method=method, alg=alg, master_key=master_key, now=now, wanted=wanted
    )
    # The caller has the secret that it sent: an answer with it would be one more place from which it could leak.
    return made if wanted is None or wanted.text is None else None, (stored,)


def _check_change(stored: Client, values: dict[str, Any]) -> None:
    """Raise ConfigError for a change that needs another client."""
    if "profile" in values:
        profiles.check_change(stored.profile, values["profile"])
    before = stored.token_endpoint_auth_method
    after = values.get("token_endpoint_auth_method", before)
    # Every other method needs another credential.
    if before != after and {before, after} != set(_SAME_SECRET):
        raise ConfigError(
            f"the method of a client changes only between {' and '.join(_SAME_SECRET)}, because {after} needs another"
            f" credential than {before}: register a second client with --auth {after}, move the service to it, and"
            f" remove {stored.client_id}"
        )


def _put_keys(client: Client, keys: tuple[PublicKey, ...], jwks_uri: str | None, now: int) -> Client:
    method = client.token_endpoint_auth_method
    _check_keys(method, client.token_endpoint_auth_signing_alg, keys, jwks_uri)
    client_keys.check_certificates(method, client.keys, keys, now=now)
    if jwks_uri is None:
        return replace(client, keys=client_keys.put(client.keys, keys, now=now), jwks_uri=None)
    # Removed, not revoked: the set at the address usually contains the registered keys.
    left = tuple(key for key in client.keys if client_keys.is_revoked(key, now))
    return replace(client, keys=left, jwks_uri=jwks_uri)
