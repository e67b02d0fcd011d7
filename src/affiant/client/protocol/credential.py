"""Make a service's authentication of what its caller gave, or say why that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from affiant.client.protocol import profiles
from affiant.client.protocol.assertions import Shape, check
from affiant.client.protocol.auth import Assertion, ClientAuth, JwtBearer, OverTls, SecretBasic, SecretPost
from affiant.client.protocol.options import Options
from affiant.client.protocol.presented import Presented
from affiant.client.protocol.profiles import Profile
from affiant.client.protocol.prover import Prover
from affiant.errors import ConfigError, LocalError
from affiant.jose import keys
from affiant.jose.keys import PrivateKey, SecretKey
from affiant.jose.signer import Signer
from affiant.oauth import names
from affiant.oauth.binding.dpop import ProofKey
from affiant.signers.local import load_signer

_BY_KEY = (names.PRIVATE_KEY_JWT,)
_BY_SECRET = (names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST, names.CLIENT_SECRET_JWT)
_GRANTS = {
    "client_credentials": names.CLIENT_CREDENTIALS,
    "jwt-bearer": names.JWT_BEARER,
    names.JWT_BEARER: names.JWT_BEARER,
}


def make_shape(options: Options, kid: str | None) -> Shape:
    """Return what the assertions say, by the profile and the options."""
    profile = profiles.find(options.get("profile"))
    grant = options.get("grant")
    if grant is not None and grant not in _GRANTS:
        raise LocalError(f"grant={grant!r} is not known: client_credentials or jwt-bearer")
    if grant is not None and profile.name and _GRANTS[grant] != profile.grant:
        raise LocalError(f"profile={profile.name!r} has another grant than {grant}: leave grant= out")
    if grant is not None:
        profile = replace(profile, grant=_GRANTS[grant])
    subject = options.get("subject")
    if subject is not None and profile.grant != names.JWT_BEARER:
        raise LocalError("subject= is for grant='jwt-bearer': a client assertion has the client_id as its sub")
    if subject is None and profile.subject == profiles.REQUIRED:
        raise LocalError(f"profile={profile.name!r} needs subject=: the account that the token is for")
    lifetime = options.get("lifetime")
    shape = Shape(
        profile=profile,
        lifetime=profile.lifetime if lifetime is None else lifetime,
        subject=subject,
        header=options.get("header"),
        claims=options.get("claims"),
        has_own_kid=kid is not None,
    )
    check(shape)
    return shape


def make_auth(
    key: Any,
    secret: str | None,
    method: str | None,
    alg: str | None,
    kid: str | None,
    shape: Shape,
    password: str | bytes | None = None,
) -> ClientAuth:
    """Return how the service authenticates, or LocalError."""
    is_grant = shape.is_grant
    if isinstance(key, Presented):
        return key
    if password is not None and key is None:
        raise LocalError("key_password= is given, and key= is not: it is the password of an encrypted key")
    if method in names.BY_TLS and key is secret is None and not is_grant:
        return OverTls()
    _check_choice(key, secret, method, shape.profile)
    try:
        if secret is None:
            signer = load_key(key, alg, kid, shape.profile, password)
            _check_name(signer, shape)
            return JwtBearer(signer, shape) if is_grant else Assertion(signer, shape.lifetime, shape)
        if method == names.CLIENT_SECRET_JWT:
            return Assertion(SecretKey(secret.encode(), alg or "HS256", kid), shape.lifetime, shape)
    except ConfigError as error:
        raise LocalError(str(error)) from None
    return SecretPost(secret) if method == names.CLIENT_SECRET_POST else SecretBasic(secret)


def _check_choice(key: Any, secret: str | None, method: str | None, profile: Profile) -> None:
    if (key is None) == (secret is None):
        raise LocalError("a service needs either a key or a secret")
    if secret is not None and (profile.name or profile.grant == names.JWT_BEARER):
        what = f"profile={profile.name!r}" if profile.name else "grant='jwt-bearer'"
        raise LocalError(f"{what} needs a key: its assertions are not signed with a secret")
    # Order: before a secret is sent in a way that the operator did not choose.
    methods = _BY_KEY if secret is None else _BY_SECRET
    if method is not None and method not in methods:
        given = "a key" if secret is None else "a secret"
        raise LocalError(f"auth_method {method!r} cannot be used with {given}: expected {' or '.join(methods)}")
    if secret is not None and not secret:
        raise LocalError("the client secret is empty")


def load_key(
    key: Any, alg: str | None, kid: str | None, profile: Profile, password: str | bytes | None = None
) -> Signer:
    """Return the signer, with an algorithm of the profile if the caller leaves the choice."""
    signer = load_signer(key, alg, kid, password=password)
    if not profile.algs or signer.alg in profile.algs:
        return signer
    for name in profile.algs if alg is None else ():
        try:
            return load_signer(key, name, kid, password=password)
        except (ConfigError, LocalError):  # the key itself can be read: it does not fit this algorithm
            continue
    raise LocalError(
        f"profile={profile.name!r} takes keys for {' or '.join(profile.algs)}, and this one is for {signer.alg}"
    )


def _check_name(signer: Signer, shape: Shape) -> None:
    """Reject a key that the server could not find."""
    wanted = shape.profile.key_named_by
    if wanted and signer.kid is None and (shape.header is None or "x5c" not in wanted):
        raise LocalError(f"profile={shape.profile.name!r} needs the name under which the server has the key: kid=")


def make_prover(key: Any, clock: Callable[[], float]) -> Prover | None:
    """Return the prover of dpop=, or None for False."""
    return Prover(_proof_key(key), clock) if key is not False else None


def _proof_key(key: Any) -> ProofKey:
    if key is True:
        return ProofKey.of(keys.generate("ES256"))
    try:
        signer = load_signer(key, None, None)
    except (ConfigError, LocalError) as error:
        raise LocalError(f"dpop=: {error}") from None
    if not isinstance(signer, PrivateKey):
        raise LocalError("dpop= takes a private key, not another signer: every proof contains its public part")
    return ProofKey.of(signer)
