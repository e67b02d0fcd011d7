"""Show trusts and rules to people: conditions as their options are written, and keys by their kid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from affiant.server.registry.federation.fields import option_values

_CONDITIONS = ("conditions", "refuses")


def words_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a trust or a rule with these members as text."""
    shown = {name: option_values(value) if name in _CONDITIONS else value for name, value in found.items()}
    if found.get("jwks") is not None:
        shown["jwks"] = ", ".join(str(key.get("kid") or key.get("kty")) for key in found["jwks"]["keys"])
    if found.get("ca") is not None:
        shown["ca"] = f"{found['ca'].count('BEGIN CERTIFICATE')} certificates"
    return shown


def state(found: Mapping[str, Any]) -> str:
    return "enabled" if found["enabled"] else "disabled"
