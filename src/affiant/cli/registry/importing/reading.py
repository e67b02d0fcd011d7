"""Read members of an export. An export is not trusted: a value of another type is refused, and no message has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affiant.errors import ConfigError

MAX_BYTES = 64 << 20  # a realm with its users is large


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; raise ConfigError if it cannot be read."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_BYTES >> 20} MiB: export the clients without the users")
    return raw


def read_json(path: Path) -> Any:
    """Return the JSON document in a file."""
    try:
        return json.loads(read_bytes(path))
    except (ValueError, RecursionError):  # its message may quote a secret
        hint = ": turn YAML into JSON first" if path.suffix in (".yaml", ".yml") else ""
        raise ConfigError(f"{path} is not JSON{hint}") from None


def text(found: Mapping[str, Any], name: str) -> str:
    """Return a member that is a string; "" if it is left out or null."""
    value = found.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(f"{name} is not a string")
    return value


def texts(found: Mapping[str, Any], name: str) -> list[str]:
    """Return a member that is a list of strings."""
    value = found.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ConfigError(f"{name} is not a list of strings")
    return list(dict.fromkeys(value))


def objects(found: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return a member that is a list of objects."""
    value = found.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ConfigError(f"{name} is not a list of objects")
    return value


def mapping(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a member that is an object; an empty one if it is left out or null."""
    value = found.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{name} is not an object")
    return value


def name_of(found: Mapping[str, Any], member: str) -> str:
    """Return the client_id of an entry, or words for one that has none."""
    value = found.get(member)
    return value if isinstance(value, str) and value else "(without a client_id)"
