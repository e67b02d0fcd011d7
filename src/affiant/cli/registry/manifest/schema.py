"""The JSON Schema of the file, for editors: the members that are read, with the patterns of the server's own rules."""

from __future__ import annotations

import re
from typing import Any

from affiant.cli.registry.manifest.desired import Desired
from affiant.jose.algorithms import ASYMMETRIC, SYMMETRIC
from affiant.oauth import jwks_uri, names
from affiant.oauth.parameters import authorization_details, resource_indicator, scope
from affiant.server.admin import documents
from affiant.server.registry import rules
from affiant.server.registry.profiles import PROFILES
from affiant.storage.entries import LONGEST_TOKEN

SCHEMA_ID = "urn:affiant:registry"
_MOST = 64  # names in one list
_LIFETIME = {"anyOf": [{"const": 0}, {"type": "integer", "minimum": rules.SHORTEST_TOKEN, "maximum": LONGEST_TOKEN}]}


def build() -> dict[str, Any]:
    """Return the schema. What it refuses, the server refuses; what no pattern says, `affiant plan` does."""
    made = Desired.model_json_schema()
    for model, members in (("DesiredApi", _api()), ("DesiredClient", _client())):
        properties = made["$defs"][model]["properties"]
        for name, rule in members.items():
            is_needed = name in made["$defs"][model]["required"]
            properties[name] = {**_kept(properties[name]), **(rule if is_needed else _optional(rule))}
    made["properties"]["$schema"] = {"type": "string", "description": "where this schema is, for the editor"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **made}


def _api() -> dict[str, Any]:
    return {
        "identifier": _text(resource_indicator.ABSOLUTE, longest=256),
        "name": _text(re.compile(documents.LABEL.strip("^$")), longest=100),
        "scopes": _names(_text(scope.NAME)),
        "signing_alg": {"enum": [*ASYMMETRIC, rules.SERVERS_CHOICE]},
        "authorization_details_types": _names(_text(authorization_details.TYPE)),
        "access_token_lifetime": _LIFETIME,
    }


def _client() -> dict[str, Any]:
    api = _text(resource_indicator.ABSOLUTE, longest=256)
    return {
        "client_id": _text(rules.CLIENT_ID),
        "client_name": _text(re.compile(documents.LABEL.strip("^$")), longest=100),
        "token_endpoint_auth_method": {"enum": list(names.AUTH_METHODS)},
        "token_endpoint_auth_signing_alg": {"enum": [*ASYMMETRIC, *SYMMETRIC]},
        "jwks_uri": _text(jwks_uri.URI, longest=256),
        "scope": _names(_text(scope.NAME)),
        "resources": _names(api),
        "grant_types": {**_names({"enum": list(rules.GRANT_TYPES)}), "minItems": 1, "maxItems": 8},
        "introspects": _names(api),
        "authorization_details_types": _names(_text(authorization_details.TYPE)),
        "profile": {"enum": [*PROFILES, "none"]},
        "access_token_lifetime": _LIFETIME,
    }


def _text(rule: re.Pattern[str], *, longest: int | None = None) -> dict[str, Any]:
    # As ECMA-262 has it (JSON Schema section 6.4), without names of groups, which Python spells in its own way.
    pattern = re.sub(r"\(\?P<[a-z]+>", "(?:", rule.pattern).replace(r"\Z", "$")
    bounds = {"maxLength": longest} if longest is not None else {}
    return {"type": "string", "pattern": f"^(?:{pattern})$", **bounds}


def _names(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "maxItems": _MOST}


def _optional(rule: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [rule, {"type": "null"}], "default": None}


def _kept(member: dict[str, Any]) -> dict[str, Any]:
    """Return what people read of a member."""
    return {name: value for name, value in member.items() if name in ("title", "description")}
