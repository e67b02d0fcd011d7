"""Rules for the authentication method of a client, and for the algorithm, keys and secret that it needs."""

from __future__ import annotations

from dataclasses import replace

from affiant.errors import ConfigError
from affiant.jose.algorithms import ASYMMETRIC, SYMMETRIC
from affiant.jose.keys import PublicKey
from affiant.oauth import jwks_uri as oauth_jwks_uri
from affiant.oauth import names
from affiant.server.credentials import keys as client_keys
from affiant.server.credentials import secrets as client_secrets
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.profiles import GUIDE
from affiant.storage.records import Client, StoredSecret

ONE_NAME = "tls_client_auth, and no other method, needs one name of the certificate: --tls-san-dns NAME"
_BY_KEYS = (names.PRIVATE_KEY_JWT, names.SELF_SIGNED_TLS_CLIENT_AUTH)
_SAME_SECRET = (names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST)


def check_method(auth_method: str, alg: str | None, profile: str | None, *, is_named: bool) -> tuple[str, str | None]:
    """Return the method and its algorithm; raise ConfigError if no client may be registered with them."""
    if auth_method == names.TLS_CLIENT_AUTH and not is_named:
        raise ConfigError(ONE_NAME)
    if auth_method not in names.AUTH_METHODS:
        raise ConfigError(f"a client authenticates by one of: {', '.join(names.AUTH_METHODS)}")
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


def change_method(standing: Client, wanted: str | None) -> str:
    """Return the method of a client after this change; None changes nothing.

    Only the two methods with a plain secret can replace each other: every other method needs another credential.
    """
    method = standing.token_endpoint_auth_method
    if wanted is None or wanted == method:
        return method
    if wanted not in names.AUTH_METHODS:
        raise ConfigError(f"a client authenticates by one of: {', '.join(names.AUTH_METHODS)}")
    if {method, wanted} == set(_SAME_SECRET):
        return wanted
    raise ConfigError(
        f"the method of a client changes only between {' and '.join(_SAME_SECRET)}, because {wanted} needs another"
        f" credential than {method}: register a second client with --auth {wanted}, move the service to it, and"
        f" remove {standing.client_id}"
    )


def check_keys(auth_method: str, keys: tuple[PublicKey, ...], alg: str | None, *, jwks_uri: str | None = None) -> None:
    """Raise ConfigError if keys, jwks_uri and method do not fit each other."""
    if jwks_uri is not None:
        _check_jwks_uri(jwks_uri)
    if keys and jwks_uri is not None:
        raise ConfigError("a client has public keys, or the address of them, and not both")
    has_keys = bool(keys) or jwks_uri is not None
    if (auth_method in _BY_KEYS) != has_keys:
        needs = "needs a public key" if not has_keys else "takes no public key"
        raise ConfigError(f"{auth_method} {needs}")
    if auth_method == names.SELF_SIGNED_TLS_CLIENT_AUTH and any(key.certificate is None for key in keys):
        raise ConfigError(f"{auth_method} needs the certificate of each key, in x5c: --certificate FILE")
    if alg is not None and keys and not any(alg in key.algorithms for key in keys):
        raise ConfigError(f"no key of the client fits {alg}")


def _check_jwks_uri(text: str) -> None:
    try:
        oauth_jwks_uri.parse(text)
    except ValueError as error:
        raise ConfigError(f"this jwks_uri cannot be registered: {error}") from None


def put_keys(standing: Client, keys: tuple[PublicKey, ...], jwks_uri: str | None, now: int) -> Client:
    """Return the client with these keys, or this jwks_uri, instead of its present ones."""
    method, alg = standing.token_endpoint_auth_method, standing.token_endpoint_auth_signing_alg
    check_keys(method, keys, alg, jwks_uri=jwks_uri)
    client_keys.check_certificates(method, standing.keys, keys, now=now)
    if jwks_uri is None:
        return replace(standing, keys=client_keys.put(standing.keys, keys, now=now), jwks_uri=None)
    # Removed, not revoked: the set at the address usually contains the registered keys.
    left = tuple(key for key in standing.keys if client_keys.is_revoked(key, now))
    return replace(standing, keys=left, jwks_uri=jwks_uri)


def make_secret(
    client_id: str, auth_method: str, alg: str | None, master_key: MasterKey, now: int, name: str | None
) -> tuple[str | None, tuple[StoredSecret, ...]]:
    """Make the secret of a new client, if its method has one; return its text and its stored form."""
    if auth_method not in client_secrets.METHODS:
        if name is not None:
            raise ConfigError(f"{auth_method} has no secret, and takes no client_secret_id")
        return None, ()
    secret, stored = client_secrets.make(
        client_id, auth_method=auth_method, alg=alg, master_key=master_key, now=now, name=name
    )
    return secret, (stored,)
