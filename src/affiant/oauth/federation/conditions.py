"""Compare claims with conditions: exact values, or prefixes that end in `*` or `**`. No regular expressions.

A claim is a member of the payload by its name, or a value inside it by a JSON Pointer (RFC 6901), as in
``/kubernetes.io/namespace``. A name that begins with a slash needs a pointer too (``/~1name``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Scalar = str | bool | int

MAX_CLAIM = 512  # characters of the name or pointer
MAX_VALUE = 1024  # characters of a value
MAX_DEPTH = 8  # members of a pointer
_STOPS = ":/"  # a prefix with one * covers no further segment


def find(claims: dict[str, Any], claim: str) -> object:
    """Return the value of this claim, or None; arrays have no members here.

    Attack: whoever adds an element to an array moves another one to the index that a pointer names.
    """
    if not claim.startswith("/"):
        return claims.get(claim)
    value: object = claims
    for name in parse_pointer(claim):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def parse_pointer(claim: str) -> list[str]:
    """Return the members that a JSON Pointer names (RFC 6901 section 4), or raise ValueError."""
    names = claim.split("/")[1:]
    for name in names:
        # Order: ~1 before ~0, so that ~01 is read as ~1.
        if name.replace("~0", "").replace("~1", "").count("~"):
            raise ValueError("a JSON Pointer in which ~ is written as ~0 and / as ~1")
    if len(names) > MAX_DEPTH:
        raise ValueError(f"a JSON Pointer of at most {MAX_DEPTH} members")
    return [name.replace("~1", "/").replace("~0", "~") for name in names]


def holds(value: object, expected: Sequence[Scalar]) -> bool:
    """Whether a claim has one of these values. Types count: "true", true and 1 are three values."""
    return any(matches(value, one) for one in expected)


def matches(value: object, expected: Scalar) -> bool:
    """Whether a claim has this value, or begins with it up to its `*`.

    ``repo:acme/*`` covers ``repo:acme/app`` and not ``repo:acme/app:ref``; ``repo:acme/**`` covers both. The star
    covers at least one character.
    """
    if type(value) is not type(expected):
        return False
    if not isinstance(expected, str) or not isinstance(value, str) or not is_prefix(expected):
        return value == expected
    prefix = expected.rstrip("*")
    rest = value[len(prefix) :]
    is_deep = expected.endswith("**")
    return value.startswith(prefix) and bool(rest) and (is_deep or not any(stop in rest for stop in _STOPS))


def is_prefix(expected: Scalar) -> bool:
    """Whether this value of a condition covers several values of a claim."""
    return isinstance(expected, str) and expected.endswith("*")


def check_value(value: object) -> Scalar:
    """Return a value that a condition can have; raise ValueError for any other."""
    if isinstance(value, bool | int):
        return value
    if not isinstance(value, str) or not 0 < len(value) <= MAX_VALUE:
        raise ValueError(f"a string of 1 to {MAX_VALUE:,} characters, a whole number, true or false")
    stem = value.removesuffix("*").removesuffix("*")
    if "*" in stem:
        raise ValueError("a text with * or ** at its end only: there are no other patterns")
    if not stem:
        raise ValueError("a text before the *: a bare * would match every value")
    return value


def check_claim(claim: object) -> str:
    """Return the name of a claim, or a JSON Pointer to it; raise ValueError for anything else."""
    if not isinstance(claim, str) or not 0 < len(claim) <= MAX_CLAIM:
        raise ValueError(f"a claim, or a JSON Pointer to it, of 1 to {MAX_CLAIM} characters")
    if claim.startswith("/"):
        parse_pointer(claim)
    return claim
