"""Issuers whose access tokens are not of RFC 9068, by name, after the documentation of each.

A preset says what its tokens need not have: in its docstring, in its repr, and in the log when a guard is built.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypedDict, Unpack
from urllib.parse import quote

from affiant.errors import ConfigError
from affiant.oauth import names
from affiant.oauth.access_token import ClaimRules
from affiant.resource.issuer.introspect import Introspection
from affiant.resource.issuer.offline import Given
from affiant.resource.issuer.trust import Issuer

_AT, _JWT = names.ACCESS_TOKEN_TYP, "JWT"
_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?")
_TENANT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_POOL = re.compile(r"([a-z]{2}(?:-[a-z]+)+-[0-9])_[0-9A-Za-z]+")
Clients = Collection[str] | Mapping[str, str]


class Options(TypedDict, total=False):
    """Options of `Issuer` that every preset takes."""

    algorithms: Sequence[str]
    jwks: Given | None
    reach: str | None
    unsafe_reach: str | None
    introspection: Introspection | None


def keycloak(url: str, realm: str, *, clients: Clients | None = None, **options: Unpack[Options]) -> Issuer:
    """Return a realm of Keycloak, such as ``keycloak("https://sso.example", "services")``.

    Waived: typ may be ``JWT``. The client is `azp`, scopes are those of `scope`; roles are not read. ID tokens and
    refresh tokens are refused by the claim `typ`, which must be ``Bearer`` or ``DPoP``. Keycloak writes the API into
    `aud` only where the client or a client scope has a mapper of the type Audience.
    """
    rules = ClaimRules(client_id=("azp", "client_id"), required={"typ": ("Bearer", "DPoP")})
    return _make(f"{url.rstrip('/')}/realms/{quote(realm, safe='')}", (_AT, _JWT), rules, clients, options)


def entra(tenant: str, *, version: int = 2, clients: Clients | None = None, **options: Unpack[Options]) -> Issuer:
    """Return a tenant of Microsoft Entra ID by its id, a UUID.

    Waived: typ is ``JWT``, and there is no `jti` (`uti` is taken). The client is `azp`, in tokens of version 1 `appid`;
    an ID token has neither. Scopes are those of `scp`, which a client has on behalf of a user, or else `roles`, which
    it has for itself. A token with neither is refused: Entra gives such a one to every client of the tenant.

    Args:
        tenant: its id. Tokens of several tenants need a preset for each.
        version: of the tokens, which the registration of the API sets (``requestedAccessTokenVersion``): 2 or 1. The
            audience is the client id of the API, in version 1 perhaps its ``api://`` URI.
        clients: the only clients whose tokens are accepted.
        options: those of `Issuer`.
    """
    if version not in (1, 2) or not _TENANT.fullmatch(tenant):
        raise ConfigError("entra() takes the id of a tenant, a UUID in lower case, and version= 1 or 2")
    identifier, client_id = f"https://login.microsoftonline.com/{tenant}/v2.0", "azp"
    if version == 1:
        identifier, client_id = f"https://sts.windows.net/{tenant}/", "appid"
    rules = ClaimRules(
        client_id=(client_id,),
        jti=("uti",),
        scope=("scp", "roles"),
        waived=frozenset({"jti"}),
        required={"tid": (tenant,), "ver": (f"{version}.0",)},
        check=_check_entra,
    )
    return _make(identifier, (_JWT,), rules, clients, options)


def auth0(
    domain: str, *, scope: Sequence[str] = ("scope",), clients: Clients | None = None, **options: Unpack[Options]
) -> Issuer:
    """Return a tenant of Auth0 by its domain, such as ``auth0("tenant.eu.auth0.com")``.

    Waived, for APIs without the RFC 9068 profile: typ may be ``JWT``, and there is no `jti`. The client is `azp`;
    an ID token has none, and is for a client. Scopes are those of `scope`. With RBAC, ``scope=("permissions",)`` takes
    what the user may do, which can be more than the user allowed the client.
    """
    rules = ClaimRules(client_id=("azp", "client_id"), scope=tuple(scope), waived=frozenset({"jti"}))
    return _make(f"https://{_host('auth0', domain)}/", (_AT, _JWT), rules, clients, options)


def okta(domain: str, *, server: str = "default", clients: Clients | None = None, **options: Unpack[Options]) -> Issuer:
    """Return a custom authorization server of Okta, such as ``okta("dev-1.okta.com")``.

    Waived: typ may be absent. The client is `cid`, scopes are those of `scp`. ID tokens are refused: they have no
    `cid`, and their `jti` does not begin with ``AT.``. Tokens of the org authorization server are for Okta alone.
    """
    rules = ClaimRules(client_id=("cid",), scope=("scp",), check=_check_okta)
    identifier = f"https://{_host('okta', domain)}/oauth2/{quote(server, safe='')}"
    return _make(identifier, (_AT, _JWT, None), rules, clients, options)


def cognito(pool: str, *, clients: Clients, **options: Unpack[Options]) -> Issuer:
    """Return a user pool of Amazon Cognito by its id, such as ``eu-central-1_AbCdEfGhI``.

    Waived: typ may be absent, and so may `aud`: a token is for every API of the pool, so `clients` must name the app
    clients that may call this one. Where there is an `aud`, it must be this API. Scopes are those of `scope`, such as
    ``orders/read``. ID tokens are refused by `token_use`.
    """
    found = _POOL.fullmatch(pool)
    if found is None:
        raise ConfigError(f"cognito() takes the id of a user pool, such as eu-central-1_AbCdEfGhI, not {pool!r}")
    host = f"cognito-idp.{found[1]}.amazonaws.com{'.cn' if found[1].startswith('cn-') else ''}"
    rules = ClaimRules(waived=frozenset({"aud"}), required={"token_use": ("access",)})
    return _make(f"https://{host}/{pool}", (_AT, _JWT, None), rules, clients, options)


def google(*, clients: Clients, **options: Unpack[Options]) -> Issuer:
    """Return Google, for the identity tokens of its service accounts; ask for them with ``format=full``.

    Waived: these are ID tokens: typ is ``JWT``, and there is neither `jti` nor a scope. The client is `email`, which
    must be verified and that of a service account. `azp` must be the account itself, so tokens that a person obtained
    through an OAuth client are refused.

    Args:
        clients: the emails of the service accounts. Every account of every customer of Google gets a token for any
            audience. With a dict, the scopes that each has:
            ``{"billing@project.iam.gserviceaccount.com": "orders.read"}``.
        options: those of `Issuer`.
    """
    rules = ClaimRules(
        client_id=("email",),
        scope=(),
        waived=frozenset({"jti"}),
        required={"email_verified": (True,)},
        check=_check_google,
    )
    return _make("https://accounts.google.com", (_JWT,), rules, clients, options)


def _make(
    identifier: str, types: Sequence[str | None], rules: ClaimRules, clients: Clients | None, options: Options
) -> Issuer:
    return Issuer(identifier, accept_typ=types, claims=rules, clients=clients, **options)


def _host(preset: str, domain: str) -> str:
    if not _HOST.fullmatch(domain):
        raise ConfigError(f"{preset}() takes a domain, such as tenant.example, not {domain!r}")
    return domain


def _check_entra(claims: dict[str, Any]) -> str | None:
    return None if "scp" in claims or "roles" in claims else "it has neither scp nor roles"


def _check_okta(claims: dict[str, Any]) -> str | None:
    return None if str(claims.get("jti")).startswith("AT.") else "its jti is not that of an access token"


def _check_google(claims: dict[str, Any]) -> str | None:
    email, azp = claims.get("email"), claims.get("azp")
    if not isinstance(email, str) or not email.endswith(".gserviceaccount.com"):
        return "its email is not that of a service account"
    return None if isinstance(azp, str) and azp in (claims.get("sub"), email) else "its azp is not the account itself"
