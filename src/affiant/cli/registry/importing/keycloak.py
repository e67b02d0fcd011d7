"""Clients of Keycloak: a realm's export, or what its admin API or `kcadm.sh get clients` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from affiant.cli.registry.importing import credentials, reading
from affiant.cli.registry.importing.entry import Entry, Export, Skipped, judge
from affiant.errors import ConfigError
from affiant.oauth import names

# Scopes that every realm has: they put claims about people into tokens, and permit nothing.
_BUILT_IN = frozenset({
    "acr", "address", "basic", "email", "microprofile-jwt", "offline_access", "organization", "phone", "profile",
    "role_list", "roles", "saml_organization", "service_account", "web-origins",
})  # fmt: skip
_MASK = "*"
_AUDIENCE_MAPPER = "oidc-audience-mapper"
_AUDIENCES = ("included.custom.audience", "included.client.audience")


def read(document: Any, *, auth: str) -> Export:
    """Return the clients of an export; `auth` is how clients send their secrets, which Keycloak does not say."""
    realm = {"clients": document} if isinstance(document, list) else document
    scopes = {reading.text(one, "name"): one for one in reading.objects(realm, "clientScopes")}
    clients = reading.objects(realm, "clients")
    entries = judge(clients, lambda one: _client(one, scopes, auth), name=lambda one: reading.name_of(one, "clientId"))
    return Export("keycloak", entries)


def _client(found: Mapping[str, Any], scopes: Mapping[str, Any], auth: str) -> Entry:
    _check_kind(found)
    given = [*reading.texts(found, "defaultClientScopes"), *reading.texts(found, "optionalClientScopes")]
    members: dict[str, Any] = {"client_id": reading.text(found, "clientId")}
    if name := reading.text(found, "name"):
        members["client_name"] = name
    if found.get("enabled") is False:
        members["enabled"] = False
    members["scope"] = sorted(set(given) - _BUILT_IN)
    holders = (found, *(scopes[name] for name in given if name in scopes))
    members["resources"] = sorted({audience for holder in holders for audience in _audiences(holder)})
    attributes = reading.mapping(found, "attributes")
    entry = _with_credential(Entry(members["client_id"], members), found, attributes, auth)
    return entry.noting(*_changes(found, attributes))


def _check_kind(found: Mapping[str, Any]) -> None:
    """Raise Skipped for what is no service that gets tokens for itself."""
    if reading.text(found, "protocol") not in ("", "openid-connect"):
        raise Skipped("it is a client of SAML")
    if found.get("bearerOnly") is True:
        raise Skipped("it is an API: affiant api new")
    if found.get("publicClient") is True:
        raise Skipped("it is a public client: it has no credential")
    if found.get("serviceAccountsEnabled") is not True:
        raise Skipped("it signs people in, and has no service account")


def _with_credential(entry: Entry, found: Mapping[str, Any], attributes: Mapping[str, Any], auth: str) -> Entry:
    kind = reading.text(found, "clientAuthenticatorType") or "client-secret"
    alg = reading.text(attributes, "token.endpoint.auth.signing.alg")
    match kind:
        case "client-secret":
            return _by_secret(entry, found, {"token_endpoint_auth_method": auth})
        case "client-secret-jwt":
            members = {"token_endpoint_auth_method": names.CLIENT_SECRET_JWT}
            return _by_secret(entry, found, {**members, **({"token_endpoint_auth_signing_alg": alg} if alg else {})})
        case "client-jwt":
            more, changes = _keys(attributes)
            more |= {"token_endpoint_auth_method": names.PRIVATE_KEY_JWT}
            more |= {"token_endpoint_auth_signing_alg": alg} if alg else {}
            return Entry(entry.name, {**entry.members, **more}).noting(*changes)
        case "client-x509":
            return Entry(entry.name, {**entry.members, **_subject(attributes)})
        case _:
            raise ConfigError(f"affiant has no counterpart of its authenticator {kind}: see  affiant trust add --help")


def _by_secret(entry: Entry, found: Mapping[str, Any], more: Mapping[str, Any]) -> Entry:
    secret = reading.text(found, "secret")
    members = {**entry.members, **more}
    if not secret.strip(_MASK):
        why = "is masked in the export" if secret else "is not in the export"
        return Entry(entry.name, members).noting(f"its secret {why}: it gets a new one")
    if secret.startswith("${"):
        return Entry(entry.name, members).noting("its secret is in a vault of Keycloak: it gets a new one")
    return Entry(entry.name, members, secret)


def _keys(attributes: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the keys in the order in which Keycloak looks for them."""
    if reading.text(attributes, "use.jwks.url") == "true":
        return {"jwks_uri": reading.text(attributes, "jwks.url")}, []
    if reading.text(attributes, "use.jwks.string") == "true":
        return credentials.from_set_text(reading.text(attributes, "jwks.string"))
    kid = reading.text(attributes, "jwt.credential.kid")
    for member, kind in (("certificate", "CERTIFICATE"), ("public.key", "PUBLIC KEY")):
        if encoded := reading.text(attributes, f"jwt.credential.{member}"):
            return credentials.from_base64(encoded, kind, kid=kid), []
    raise ConfigError("its public key is not in the export: affiant client new NAME --public-key FILE")


def _subject(attributes: Mapping[str, Any]) -> dict[str, Any]:
    if reading.text(attributes, "x509.allow.regex.pattern.comparison") == "true":
        raise ConfigError("its certificate is named by a pattern: affiant client new NAME --tls-subject-dn DN")
    return {
        "token_endpoint_auth_method": names.TLS_CLIENT_AUTH,
        "tls_client_auth_subject_dn": reading.text(attributes, "x509.subjectdn"),
    }


def _audiences(holder: Mapping[str, Any]) -> Iterator[str]:
    """Yield the audiences that the mappers of a client or a scope put into tokens."""
    for mapper in reading.objects(holder, "protocolMappers"):
        config = reading.mapping(mapper, "config")
        if mapper.get("protocolMapper") == _AUDIENCE_MAPPER and config.get("access.token.claim") != "false":
            yield from (found for name in _AUDIENCES if (found := reading.text(config, name)))


def _changes(found: Mapping[str, Any], attributes: Mapping[str, Any]) -> Iterator[str]:
    if found.get("standardFlowEnabled") is True or found.get("directAccessGrantsEnabled") is True:
        yield "its sign-in of people stays with Keycloak"
    if reading.text(attributes, "access.token.lifespan"):
        yield "its own lifetime of tokens is not taken: --access-token-lifetime of  affiant client update"
    if reading.text(attributes, "client.secret.rotated"):
        yield "its rotated secret, the one before, ends here"
