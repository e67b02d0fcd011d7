"""Clients in a table: a CSV file with a heading."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affiant.cli.registry.importing import reading
from affiant.cli.registry.importing.entry import Entry, Export, judge
from affiant.errors import ConfigError
from affiant.oauth import names
from affiant.server.registry.credentials import given

COLUMNS = ("client_id", "client_secret", "scope", "resource", "jwks_uri", "public_key", "method")


def read(path: Path, *, auth: str) -> Export:
    """Return the clients of a table; `auth` is how those send their secrets that have no method."""
    try:
        text = reading.read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8") from None
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_heading(path, [*(rows.fieldnames or ())])
        found = list(rows)
    except csv.Error as error:
        raise ConfigError(f"{path}, line {rows.line_num}: {error}") from None
    entries = judge(found, lambda row: _client(path, row, auth), name=lambda row: reading.name_of(row, "client_id"))
    return Export("csv", entries)


def _check_heading(path: Path, heading: list[str]) -> None:
    strange = sorted(set(heading) - set(COLUMNS))
    if "client_id" not in heading or strange or len(set(heading)) < len(heading):
        raise ConfigError(f"{path}: its first line names columns, each once: client_id and any of {', '.join(COLUMNS)}")


def _client(path: Path, row: Mapping[Any, Any], auth: str) -> Entry:
    if None in row or None in row.values():
        raise ConfigError("its line has more or fewer cells than the heading")
    cells = {name: value.strip() for name, value in row.items()}
    found = {name: cells.get(name, "") for name in COLUMNS}
    members: dict[str, Any] = {"client_id": found["client_id"]}
    members["scope"], members["resources"] = found["scope"].split(), found["resource"].split()
    more, changes = _keys(path, found)
    usual = names.PRIVATE_KEY_JWT if more else auth
    members["token_endpoint_auth_method"] = method = found["method"] or usual
    secret = found["client_secret"] or None
    if secret is None and method in names.BY_SECRET:
        changes = [*changes, "it has no client_secret: it gets a new one"]
    return Entry(members["client_id"], {**members, **more}, secret).noting(*changes)


def _keys(path: Path, found: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    if found["jwks_uri"] and found["public_key"]:
        raise ConfigError("give one of jwks_uri and public_key")
    if found["jwks_uri"]:
        return {"jwks_uri": found["jwks_uri"]}, []
    if not found["public_key"]:
        return {}, []
    file = path.parent / found["public_key"]
    keys = given.parse(reading.read_bytes(file), file)
    return {"jwks": keys.to_jwks()}, [f"key left out: {member}" for member in keys.left_out]
