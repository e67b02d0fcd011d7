"""The scopes that a caller needs: all of them, and of each `any_of` one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

from affiant.errors import ConfigError
from affiant.oauth.parameters import scope
from affiant.system.values import Value


class AnyOf(Value, frozen=True):
    """Scopes of which one is enough; `any_of` makes it."""

    names: tuple[str, ...]


Needed = str | AnyOf | Collection[str | AnyOf]


class Need(Value, frozen=True):
    """What the scopes of a token must have: every name in `all`, and of each group in `groups` one name."""

    all: frozenset[str]
    groups: tuple[frozenset[str], ...]
    text: str  # a scope that is enough, for the challenge: of each group its first name

    def is_met_by(self, scopes: frozenset[str]) -> bool:
        return self.all <= scopes and not (self.groups and any(map(scopes.isdisjoint, self.groups)))


def any_of(*names: str) -> AnyOf:
    """Return a need that one of these scopes meets.

    A refusal names the first one as the scope to ask for: put the one that grants least first.

    Raises:
        ConfigError: no name is given, or one is not the name of a scope.
    """
    if not names:
        raise ConfigError("any_of() takes one or more scopes")
    return AnyOf(tuple(map(_name, names)))


def parse(needed: object) -> Need:
    """Return the need that this spells, or raise ConfigError if it spells none.

    A str has one name, or several with spaces between them (RFC 6749 section 3.3). An element of a collection has one.
    """
    if isinstance(needed, Need):
        return needed
    if isinstance(needed, str):
        return _parse_text(needed)
    if isinstance(needed, AnyOf):
        return _parse((needed,))
    if not isinstance(needed, Collection) or isinstance(needed, bytes | bytearray | Mapping):
        raise ConfigError(f"need= takes scopes, a str or a list of str, not {type(needed).__name__}")
    return all_of("need", *needed)


def all_of(name: str, *needed: object) -> Need:
    """Return the need for all of these; `name` is that of the argument, for the error."""
    for item in needed:
        if not isinstance(item, str | AnyOf):
            raise ConfigError(f"{name}= takes the names of scopes, not {type(item).__name__}{_hint(item)}")
    return _parse(needed)


def _hint(item: object) -> str:
    """Return how to write what was meant: a decorator without its call, or a list where names are expected."""
    if callable(item):
        return ': a decorator needs its parentheses, as in @guard.flask("orders.read") or @guard.flask()'
    return ': write them one by one, as in "orders.read", "orders.write"' if isinstance(item, list | tuple) else ""


@lru_cache(maxsize=1024)  # an API has few needs, and asks for one with every request
def _parse_text(needed: str) -> Need:
    return _parse(tuple(needed.split(" ")))


@lru_cache(maxsize=1024)
def _parse(needed: tuple[object, ...]) -> Need:
    groups = [item.names for item in needed if isinstance(item, AnyOf)]
    names = [_name(item) for item in needed if isinstance(item, str)]
    text = scope.render(dict.fromkeys([*names, *(group[0] for group in groups)]))
    return Need(frozenset(names), tuple(map(frozenset, groups)), text)


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"a scope is a str, not {type(value).__name__}")
    if scope.NAME.fullmatch(value) is None:
        raise ConfigError(f"{value[:100]!r} is not the name of a scope")
    return value
