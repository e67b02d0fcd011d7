"""Clients of Ory Hydra: `hydra list oauth2-clients --format json`, `hydra get`, or its admin API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from affiant.cli.registry.importing import credentials, reading
from affiant.cli.registry.importing.entry import Entry, Export, Skipped, judge
from affiant.errors import ConfigError
from affiant.oauth import names

_SIGN_IN = frozenset({"authorization_code", "implicit", "urn:ietf:params:oauth:grant-type:device_code"})
_HASH = re.compile(r"\$[a-z0-9-]+\$", re.IGNORECASE)
_FOR_PEOPLE = frozenset({"openid", "offline", "offline_access"})


def read(document: Any) -> Export:
    """Return the clients of a list, of a page of one, or of a single client."""
    notes: tuple[str, ...] = ()
    if isinstance(document, dict) and "items" in document:
        if document.get("is_last_page") is False:
            notes = ("the file has one page of several: list again with a larger --page-size",)
        document = document["items"]
    clients = reading.objects({"clients": document if isinstance(document, list) else [document]}, "clients")
    entries = judge(clients, _client, name=lambda one: reading.name_of(one, "client_id"))
    return Export("hydra", entries, notes=notes)


def _client(found: Mapping[str, Any]) -> Entry:
    grants = reading.texts(found, "grant_types")
    method = reading.text(found, "token_endpoint_auth_method") or names.CLIENT_SECRET_BASIC
    if names.CLIENT_CREDENTIALS not in grants:
        raise Skipped("it has no client_credentials: it signs people in")
    if method == "none":
        raise Skipped("it is a public client: it has no credential")
    members: dict[str, Any] = {"client_id": reading.text(found, "client_id"), "token_endpoint_auth_method": method}
    if name := reading.text(found, "client_name"):
        members["client_name"] = name
    members["scope"] = [one for one in reading.text(found, "scope").split() if one not in _FOR_PEOPLE]
    members["resources"] = reading.texts(found, "audience")
    more, secret, changes = _credential(found, method)
    return Entry(members["client_id"], {**members, **more}, secret).noting(*changes, *_changes(found, grants))


def _credential(found: Mapping[str, Any], method: str) -> tuple[dict[str, Any], str | None, list[str]]:
    if method in credentials.BY_SECRET:
        secret = reading.text(found, "client_secret")
        if not secret:
            return {}, None, ["Hydra keeps a hash of its secret and exports none: it gets a new one"]
        if _HASH.match(secret):
            return {}, None, ["its client_secret here is a hash: it gets a new one"]
        return {}, secret, []
    if method != names.PRIVATE_KEY_JWT:
        raise ConfigError(f"affiant does not know the method {method} of Hydra")
    alg = reading.text(found, "token_endpoint_auth_signing_alg")
    more: dict[str, Any] = {"token_endpoint_auth_signing_alg": alg} if alg else {}
    if uri := reading.text(found, "jwks_uri"):
        return {**more, "jwks_uri": uri}, None, []
    keys, changes = credentials.from_set(reading.mapping(found, "jwks"))
    return {**more, **keys}, None, changes


def _changes(found: Mapping[str, Any], grants: list[str]) -> Iterator[str]:
    if _SIGN_IN & set(grants):
        yield "its sign-in of people stays with Hydra"
    if names.JWT_BEARER in grants:
        yield "its grant jwt-bearer is not taken: it needs an issuer here (affiant trust add)"
    if reading.text(found, "client_credentials_grant_access_token_lifespan"):
        yield "its own lifetime of tokens is not taken: --access-token-lifetime of  affiant client update"
    if reading.text(found, "access_token_strategy") == "opaque":
        yield "its tokens were opaque, and are JWTs here"
