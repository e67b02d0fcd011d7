"""Rules that say what each route needs: ``{"GET /orders*": "orders.read", "/health": None}``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from affiant.errors import ConfigError
from affiant.oauth.parameters import need as needs
from affiant.oauth.parameters.need import Need, Needed
from affiant.resource.answers import NO_ROUTE, Denied
from affiant.resource.options import check_list
from affiant.system.values import Value

_RULE = re.compile(r"(?:([A-Z]+(?:,[A-Z]+)*) )?(\*|/[^\s?#]*)", re.ASCII)
_PARAMETER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}", re.ASCII)
# Attack: a router decodes, merges or resolves these, and serves another route than the one whose rule was found.
_AMBIGUOUS = re.compile(r"^[^/]|//|/\.{1,2}(?:/|$)|[\\\x00-\x1f]|%2f|%5c", re.ASCII | re.IGNORECASE)

PUBLIC = None  # what a route needs that takes requests without a token


class Rule(Value, frozen=True):
    """One rule. `need` is None for a route that takes requests without a token."""

    methods: frozenset[str]  # empty: all of them
    path: re.Pattern[str]
    need: Need | None

    def matches(self, method: str, path: str) -> bool:
        return (not self.methods or method in self.methods) and self.path.fullmatch(path) is not None


class Routes(Value, frozen=True):
    """The rules of an application, in their order: the first that matches decides."""

    rules: tuple[Rule, ...]

    def find(self, method: str, path: str, raw_path: str = "", full_path: str = "") -> Rule | None:
        """Return the rule for a request, or None if it must be refused.

        Args:
            method: of HTTP.
            path: decoded, without the path where the application is mounted.
            raw_path: as it was sent, if the server passes it on.
            full_path: decoded, with the path where the application is mounted.
        """
        # Attack: `post` is sent. No rule of POST matches it, and Flask and Django read it as POST.
        if method != method.upper() or _AMBIGUOUS.search(path) or _AMBIGUOUS.search(raw_path):
            return None
        # Attack: a router that ignores a slash at the end, or the mount, serves the route of an earlier rule.
        others = {path[:-1] if path.endswith("/") else f"{path}/", full_path or path}
        for rule in self.rules:
            if rule.matches(method, path):
                return rule
            if any(rule.matches(method, other) for other in others):
                return None
        return None


def finder(
    *, need: Needed, public: Sequence[str], routes: Mapping[str, Needed | None] | None
) -> Callable[..., Need | Denied | None]:
    """Return a function with the arguments of `Routes.find`. It returns the need, PUBLIC, or the refusal of a request.

    `routes` has the rules; without it, `need` is for every path but those in `public`.
    """
    check_list("public", public)
    wanted, without_token = needs.parse(need), frozenset(public)
    if routes is None:
        return lambda _method, path, *_: PUBLIC if path in without_token else wanted
    if wanted.text or without_token:
        raise ConfigError('routes= takes the place of need= and public=: write {..., "/path": None, "*": "scope"}')
    rules = parse(routes)

    def find(method: str, path: str, raw_path: str = "", full_path: str = "") -> Need | Denied | None:
        rule = rules.find(method, path, raw_path, full_path)
        return rule.need if rule is not None else NO_ROUTE

    return find


def mounted_path(path: str, root_path: str) -> str:
    """Return the path that a router decides by: without the path where its application is mounted."""
    if root_path and (path == root_path or path.startswith(f"{root_path}/")):
        return path[len(root_path) :]
    return path


def parse(given: Mapping[str, Needed | None]) -> Routes:
    """Return the rules that this spells.

    A name is a path, with methods in front of it or for all methods: ``GET,POST /orders``. In a path, ``{id}`` is one
    segment, and ``*`` at the end is any rest. ``*`` alone is every path. GET is HEAD, too. A value is what the token
    needs, as in `Guard.check`; None lets requests without a token pass.

    Raises:
        ConfigError: a name is no such rule, or a value is no scope.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f'routes= takes a dict like {{"GET /orders*": "orders.read"}}, not {type(given).__name__}')
    return Routes(tuple(_rule(name, needed) for name, needed in given.items()))


def _rule(name: object, needed: Needed | None) -> Rule:
    found = _RULE.fullmatch(name) if isinstance(name, str) else None
    if found is None or "*" in found[2][:-1]:
        raise ConfigError(f'{name!r:.100} is no route: write it like "/orders" or "GET /orders/{{id}}" or "/orders*"')
    methods = frozenset(found[1].split(",")) if found[1] else frozenset()
    if "GET" in methods:
        methods |= {"HEAD"}
    return Rule(methods, _pattern(found[2]), None if needed is None else needs.parse(needed))


def _pattern(path: str) -> re.Pattern[str]:
    exact, rest = (path[:-1], ".*") if path.endswith("*") else (path, "")
    parts: Sequence[str] = _PARAMETER.split(exact)
    return re.compile("[^/]+".join(map(re.escape, parts)) + rest, re.DOTALL)
