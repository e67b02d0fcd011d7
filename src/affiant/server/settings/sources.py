"""The sources of settings: the TOML file, the environment, and names in them that are not settings."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from affiant.errors import ConfigError

FILE = "affiant.toml"
PREFIX = "AFFIANT_"
# Also read from the environment: secrets, and variables for client commands.
SECRETS = (
    *("credentials", "client_id", "client_secret", "client_secret_file", "key", "key_password", "key_password_file"),
    *("initial_access_token", "master_key", "pkcs11_pin", "audit_webhook_secret"),
)
# The former name of a setting, which is still read, with a warning.
RENAMED = {"mcp_compat": "authorization_endpoint"}
# How similar two names are when one is taken for a misspelling of the other.
_SIMILAR = 0.75
# Kubernetes sets these for services whose names begin with affiant: AFFIANT_SERVICE_HOST, AFFIANT_TOKEN_PORT_80_TCP.
_KUBERNETES = re.compile(
    r"(?:\w+_)?(?:service_host|service_port(?:_\w+)?|port_\d+_(?:tcp|udp|sctp)(?:_(?:addr|port|proto))?)|\w+_port"
)
_TOML_ERROR = re.compile(r"(.*) \(at (line \d+, column \d+|end of document)\)", re.DOTALL)


def read_file() -> dict[str, Any]:
    """Read affiant.toml in the working directory; without such a file, return nothing."""
    found = _parse_file()
    return {RENAMED.get(name, name): value for name, value in found.items() if RENAMED.get(name) not in found}


def _parse_file() -> dict[str, Any]:
    path = Path(FILE)
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        if path.is_symlink():
            raise ConfigError(f"{_full(path)} is a link to a file that does not exist: mend or remove it") from None
        return {}
    except IsADirectoryError:
        raise ConfigError(f"{_full(path)} is a folder: settings are read from a file of that name") from None
    except OSError as error:
        raise ConfigError(f"{_full(path)} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{_full(path)}, line {line}: not UTF-8; save the file as UTF-8") from None
    except RecursionError:
        raise ConfigError(f"{_full(path)}: its values are nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        found = _TOML_ERROR.fullmatch(str(error))
        what, where = found.groups() if found else (str(error), "TOML")
        raise ConfigError(f"{_full(path)}, {where}: {what}") from None


def read_renamed() -> dict[str, str]:
    """Return the values of variables with a former name, by the present name of the setting."""
    found = variables(RENAMED)
    return {RENAMED[old]: os.environ[variable] for old, variable in found.items()}


def read_variables(names: Collection[str]) -> dict[str, str]:
    """Return the values of the variables that set these names."""
    return {name: os.environ[variable] for name, variable in variables(names).items()}


def warnings() -> list[str]:
    """Return a sentence for each former name that is used."""
    said = [f"{variable} is now called {PREFIX}{RENAMED[old].upper()}" for old, variable in variables(RENAMED).items()]
    said += [f"{old} in {FILE} is now called {name}" for old, name in RENAMED.items() if old in _parse_file()]
    return [f"{sentence}: rename it" for sentence in said]


def variables(names: Collection[str]) -> dict[str, str]:
    """Return the variables of the environment that set these names, each as it is spelt there."""
    found = {variable.lower().removeprefix(PREFIX.lower()): variable for variable in os.environ if _is_ours(variable)}
    return {name: variable for name, variable in found.items() if name in names}


def misspelt(names: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each variable with a name similar to a known one; others are not for affiant."""
    known = [*names, *RENAMED, *SECRETS]
    for variable in sorted(filter(_is_ours, os.environ)):
        name = variable.lower().removeprefix(PREFIX.lower())
        if name not in known and not _KUBERNETES.fullmatch(name):
            yield from (f"{variable} is not a setting: is {PREFIX}{m.upper()} meant?" for m in _similar(name, known))


def stranger(key: str, names: Iterable[str]) -> str:
    """Return the sentence for a key of the file that is not a setting."""
    name = key.lower().replace("-", "_").removeprefix(PREFIX.lower())
    if name in SECRETS:
        return f"{key} in {FILE} is not a setting: set {PREFIX}{name.upper()} in the environment"
    meant = [name] if name in names else _similar(name, names)
    hint = f"is {meant[0]} meant?" if meant else "remove it, or look for its name in docs/reference/settings.md"
    return f"{key} in {FILE} is not a setting: {hint}"


def _similar(name: str, names: Iterable[str]) -> list[str]:
    return get_close_matches(name, list(names), 1, _SIMILAR)


def _is_ours(variable: str) -> bool:
    return variable.upper().startswith(PREFIX)


def _full(path: Path) -> Path:
    return path.absolute()
