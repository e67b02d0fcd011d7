"""Scope: names separated by spaces, in any order (RFC 6749 section 3.3).

A name means itself alone. In one grammar names cover each other: the scopes of SMART Backend Services for FHIR, such as
``system/*.rs``. A star in any other name is a character like others, and no wildcard.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import NamedTuple

MAX_NAMES = 64
NAME = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}")
# SMART App Launch 2.2, "Scopes for requesting FHIR Resources". A client without a user has only the context system.
_SYSTEM = re.compile(
    r"system/(?P<resource>\*|[A-Z][A-Za-z]{0,63})\."
    r"(?:(?P<v1>read|write|\*)|(?P<v2>(?=[cruds])c?r?u?d?s?)(?:\?(?P<query>.+))?)"
)
# A search parameter that narrows the result. One that begins with _ may widen it, as _include does.
_NARROWING = re.compile(r"[A-Za-z][A-Za-z0-9.:-]*=[^&=]+")
_V1 = {"read": frozenset({"read"}), "write": frozenset({"write"}), "*": frozenset({"read", "write"})}


def parse(text: str) -> tuple[str, ...]:
    """Return the names, each once, in the order of their first mention."""
    names = text.split(" ", MAX_NAMES)
    if len(names) > MAX_NAMES or not all(map(NAME.fullmatch, names)):
        raise ValueError("not a scope")
    return tuple(dict.fromkeys(names))


class _Rights(NamedTuple):
    """A scope of SMART Backend Services."""

    version: int
    resource: str
    allowed: frozenset[str]
    conditions: frozenset[str]


def is_covered(name: str, granted: Collection[str]) -> bool:
    """Whether one of the granted names equals this name, or covers it in their common grammar.

    ``system/*.rs`` covers ``system/Patient.rs``, ``system/*.r`` and ``system/Observation.rs?category=laboratory``;
    ``system/*.read`` covers ``system/Patient.read``. The two versions of the grammar do not cover each other.
    """
    if name in granted:
        return True
    wanted = _rights(name)
    return wanted is not None and any(_covers(_rights(other), wanted) for other in granted)


def are_covered(names: Iterable[str], granted: Collection[str]) -> bool:
    """Whether each of the names is covered by a granted one."""
    return all(is_covered(name, granted) for name in names)


def _covers(granted: _Rights | None, wanted: _Rights) -> bool:
    return (
        granted is not None
        and granted.version == wanted.version
        and granted.resource in ("*", wanted.resource)
        and wanted.allowed <= granted.allowed
        and granted.conditions <= wanted.conditions
    )


@lru_cache(maxsize=1024)
def _rights(name: str) -> _Rights | None:
    """Parse a name of the grammar; None for any other, which covers only itself."""
    found = _SYSTEM.fullmatch(name)
    if found is None:
        return None
    if found["v1"] is not None:
        return _Rights(1, found["resource"], _V1[found["v1"]], frozenset())
    conditions = found["query"].split("&") if found["query"] else []
    if not all(map(_NARROWING.fullmatch, conditions)):
        return None
    return _Rights(2, found["resource"], frozenset(found["v2"]), frozenset(conditions))


def render(names: Iterable[str]) -> str:
    return " ".join(names)
