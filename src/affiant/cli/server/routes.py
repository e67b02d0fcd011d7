"""The routes that `affiant guard serve` is given as options and as a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from affiant.errors import ConfigError
from affiant.jose.strict_json import parse_object
from affiant.oauth.parameters import need as needs
from affiant.oauth.parameters.need import Needed, any_of

Rules = Mapping[str, Needed | None]  # as `Guard.asgi` takes them
_NONE = 'no route is named, and every request would be refused: --route "GET /orders*=orders.read", or --routes FILE'


def parse(public: Sequence[str], given: Sequence[str], file: Path | None) -> Rules:
    """Return the rules of --public, --route and --routes, in this order."""
    return _join([*((rule, None) for rule in public), *map(_route, given), *(read(file) if file else ())])


def scopes(rules: Rules) -> tuple[str, ...]:
    """Return every scope that a route needs."""
    parsed = [needs.parse(need) for need in rules.values() if need is not None]
    return tuple(sorted({name for need in parsed for name in need.all.union(*need.groups)}))


def _join(rules: Iterable[tuple[str, Needed | None]]) -> Rules:
    joined: dict[str, Needed | None] = {}
    for rule, need in rules:
        if rule in joined:
            raise ConfigError(f"the route {rule!r:.100} is named twice")
        joined[rule] = need
    if not joined:
        raise ConfigError(_NONE)
    return joined


def _route(text: str) -> tuple[str, str]:
    rule, _, scopes = text.partition("=")
    if not scopes.strip():  # an empty variable of a shell must not open a route
        message = 'a route names no scope: write it like "GET /items*=items.read"'
        raise click.BadParameter(message, param_hint="--route")
    return rule.strip(), scopes.strip()


def read(file: Path) -> Iterator[tuple[str, Needed | None]]:
    try:
        members = parse_object(file.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{file} is no JSON object of routes: {error}") from None
    for rule, needed in members.items():
        yield rule, [_need(item) for item in needed] if isinstance(needed, list) else _need(needed)


def _need(value: Any) -> Any:
    """Return what `Guard.asgi` takes; it rejects what is no scope."""
    if isinstance(value, dict) and list(value) == ["any_of"] and isinstance(value["any_of"], list):
        return any_of(*value["any_of"])
    return value
