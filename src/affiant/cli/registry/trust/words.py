"""Trusts and rules in words: conditions as their options are written, and keys by their names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_CONDITIONS = ("conditions", "refuses")


def words_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document for people."""
    shown = {name: list(conditions(value)) if name in _CONDITIONS else value for name, value in found.items()}
    if found.get("jwks") is not None:
        shown["jwks"] = ", ".join(str(key.get("kid") or key.get("kty")) for key in found["jwks"]["keys"])
    if found.get("ca") is not None:
        shown["ca"] = f"{found['ca'].count('BEGIN CERTIFICATE')} certificates"
    return shown


def conditions(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield CLAIM=TEXT, or CLAIM:=VALUE for true, false and whole numbers."""
    for claim, values in found.items():
        for value in values:
            yield f"{claim}={value}" if isinstance(value, str) else f"{claim}:={json.dumps(value)}"


def state(found: Mapping[str, Any]) -> str:
    return "enabled" if found["enabled"] else "disabled"
