"""The entries of the reference for endpoints, parameters and members, written next to the code they describe.

A `source` is the paragraph that defines the entry; ``affiant`` if it is our own.
"""

from __future__ import annotations

from typing import NamedTuple


class Member(NamedTuple):
    """A member of a JSON document, or a claim of a JWT."""

    name: str
    meaning: str  # with its unit
    source: str
    when: str = "always"


class Parameter(NamedTuple):
    """A parameter of a request."""

    name: str
    meaning: str  # with its limits and unit
    source: str
    when: str = "optional"
    place: str = "form"  # form, query, header, path or JSON


class Description(NamedTuple):
    """An endpoint."""

    purpose: str
    caller: str
    methods: tuple[str, ...]  # of HTTP
    parameters: tuple[Parameter, ...] = ()  # nothing else in a request has a meaning
    statuses: tuple[str, ...] = ("200",)  # of answers that are no refusal, each with its meaning
    answers: tuple[Member, ...] = ()
    refuses: tuple[str, ...] = ()  # codes of reasons, or their first part for all that begin with it
