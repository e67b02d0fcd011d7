"""docs/reference/settings.md: every setting of the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from reference.markdown import code, head, table

from affiant.cli.registry.registration import register
from affiant.cli.server import guard
from affiant.client.credentials import environment
from affiant.client.credentials import file as credentials
from affiant.server.keys import key_source
from affiant.server.request.audit.sinks import configured
from affiant.server.settings import Settings
from affiant.server.settings.sources import PREFIX
from affiant.signers.pkcs11 import session

_TEXT = """\
From the command line (`affiant serve --help` has those that are options there), else from the environment, else from
`affiant.toml` in the folder where the server starts, under the same names. A mistake stops it before it listens.
`affiant serve` and `GET /admin/api/settings` tell what set each one."""
# What is read from the environment alone.
_ENVIRONMENT = (
    (key_source.ENVIRONMENT, "the master key, 64 hexadecimal digits or 43 characters of base64url"),
    (session.PIN, "the PIN of the PKCS #11 token"),
    (configured.SECRET, "the secret of the webhook that gets audit records"),
    (credentials.ENVIRONMENT, "of clients, not of the server: the credentials file, or its JSON"),
    *environment.MEANINGS.items(),
    (register.ENVIRONMENT, "of clients: the initial access token that `affiant register` shows"),
    (guard.REPLAYS, "of `affiant guard serve`: the file or Redis URL of `--replays`"),
)  # fmt: skip
_SYMBOLS = {"ge": ">= ", "gt": "> ", "le": "<= ", "lt": "< ", "min_length": "length >= ", "max_length": "length <= "}


def build() -> str:
    """The page, in Markdown."""
    rows = (_row(name, field) for name, field in Settings.model_fields.items())
    settings = table(("setting", "environment", "type", "default", "meaning"), rows)
    variables = table(("variable", "meaning"), ((code(name), meaning) for name, meaning in _ENVIRONMENT))
    return (
        f"{head('Settings', _TEXT, change='src/affiant/server/settings/fields.py')}{settings}"
        f"\n## From the environment alone\n{variables}"
    )


def _row(name: str, field: FieldInfo) -> tuple[str, ...]:
    default = field.get_default(call_default_factory=True)
    shown = "" if default in (None, "", {}) else code(str(default))
    prefix = PREFIX
    return code(name), code(f"{prefix}{name}".upper()), _type(field), shown, field.description or ""


def _type(field: FieldInfo) -> str:
    found = [kind for kind in get_args(field.annotation) or () if kind is not type(None)]
    if get_origin(field.annotation) is Literal:
        return " or ".join(code(str(kind)) for kind in found)
    kind: Any = found[0] if found and get_origin(field.annotation) is not dict else field.annotation
    limits = [
        f"{symbol}{getattr(rule, name):,}"
        for rule in field.metadata
        for name, symbol in _SYMBOLS.items()
        if getattr(rule, name, None) is not None
    ]
    return ", ".join([_NAMES.get(kind, str(getattr(kind, "__name__", kind))), *limits])


_NAMES: dict[Any, str] = {str: "text", int: "integer", float: "number", Path: "path", dict[str, Path]: "table"}
