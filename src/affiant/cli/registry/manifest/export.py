"""`affiant export`: print the registry as a file that `affiant apply` reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import click

from affiant.cli.connection.admin import Admin, segment
from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import show
from affiant.cli.registry.manifest.registry_file import (
    DesiredApi,
    DesiredClient,
    DesiredRule,
    DesiredTeam,
    DesiredTrust,
)
from affiant.server.admin import views
from affiant.server.admin.routes.federation.documents import view_rule, view_trust
from affiant.server.registry.federation import platforms
from affiant.storage import records

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BMP = 0x10000  # the code points before it have an escape of four digits


@click.command()
@admin_options
def export(place: Place) -> None:
    """The file is for `affiant apply`, and has no secrets.

    \b
    affiant export > registry.toml
    affiant plan registry.toml

    Default values are left out, and so are services that registered themselves.
    """
    document, left_out = place.run(build)
    note = [f"# left out, since they registered themselves: {', '.join(left_out)}", ""] if left_out else []
    show(document, *note, *render(document))


async def build(api: Admin) -> tuple[dict[str, Any], list[str]]:
    """Return the document, and the clients that are not in it; the rules that name them are not, either."""
    clients = await api.all("/clients")
    left_out = [found["client_id"] for found in clients if found["registered_itself"]]
    teams = [_team(found) for found in await api.all("/teams")]
    apis = [_api(found) for found in await api.all("/apis")]
    entries = [await _client(api, found) for found in clients if not found["registered_itself"]]
    trusts = [_trust(found) for found in await api.all("/trusts")]
    rules = [_rule(found) for found in await api.all("/rules") if found["client_id"] not in left_out]
    return {"teams": teams, "apis": apis, "clients": entries, "trusts": trusts, "rules": rules}, left_out


def render(document: Mapping[str, Any]) -> list[str]:
    """Return the document as lines of TOML."""
    return [line for kind in document for entry in document[kind] for line in _table(kind, entry)]


def _team(found: Mapping[str, Any]) -> dict[str, Any]:
    return _differing(DesiredTeam.model_fields, found, {"contact": None, "resources": [], "scope": []})


def _api(found: Mapping[str, Any]) -> dict[str, Any]:
    usual = views.api(records.Api("", "", (), is_default=False, created_at=0))
    return _differing(DesiredApi.model_fields, found, usual.model_dump())


async def _client(api: Admin, found: Mapping[str, Any]) -> dict[str, Any]:
    usual = views.client(records.Client("", "private_key_jwt"), 0)
    members = _differing(DesiredClient.model_fields, found, usual.model_dump())
    if found["keys"] and found["jwks_uri"] is None:
        known = await api.get(f"/clients/{segment(found['client_id'])}/keys")
        if jwks := [key["jwk"] for key in known if key["state"] != "revoked"]:
            members["jwks"] = {"keys": jwks}
    return members


def _trust(found: Mapping[str, Any]) -> dict[str, Any]:
    usual = view_trust(records.Trust("", "")).model_dump() | platforms.usual(found["preset"])
    return _differing(DesiredTrust.model_fields, found, usual)


def _rule(found: Mapping[str, Any]) -> dict[str, Any]:
    return _differing(DesiredRule.model_fields, found, view_rule(records.Rule("", "", "")).model_dump())


def _differing(names: Mapping[str, Any], found: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in names if name in found and found[name] not in (None, usual.get(name))}


def _table(kind: str, entry: Mapping[str, Any]) -> Iterator[str]:
    yield f"[[{kind}]]"
    for name, value in entry.items():
        if name == "jwks":
            yield "jwks.keys = ["
            yield from (f"  {_value(key)}," for key in value["keys"])
            yield "]"
        else:
            yield f"{_name(name)} = {_value(value)}"
    yield ""


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_name(name)} = {_value(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    # TOML's basic strings, numbers and booleans are spelt as in JSON, except for escapes beyond four digits.
    return "".join(map(_character, json.dumps(value, ensure_ascii=False)))


def _character(char: str) -> str:
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < _BMP else f"\\U{ord(char):08x}"


def _name(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)
