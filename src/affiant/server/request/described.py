"""What the reference says of endpoints, parameters and members: declared beside the code that reads or makes them."""

from __future__ import annotations

from typing import NamedTuple


class Member(NamedTuple):
    """A member of a JSON document, or a claim of a JWT.

    Attributes:
        name: as it is written.
        meaning: what it says, with its unit.
        source: the paragraph that defines it; ``affiant`` where it is ours.
        when: when it is there.
    """

    name: str
    meaning: str
    source: str
    when: str = "always"


class Parameter(NamedTuple):
    """What a request may bring.

    Attributes:
        name: as it is written.
        meaning: what it says, with its limits and unit.
        source: the paragraph that defines it; ``affiant`` where it is ours.
        when: whether it is needed.
        place: ``form``, ``query``, ``header``, ``path`` or ``JSON``.
    """

    name: str
    meaning: str
    source: str
    when: str = "optional"
    place: str = "form"


class Described(NamedTuple):
    """An endpoint.

    Attributes:
        purpose: what it is there for.
        caller: who may call it.
        methods: those of HTTP that it takes.
        parameters: what it reads; nothing else of a request has a meaning.
        statuses: of answers that are no refusal, each with what it says.
        answers: the members of its answer.
        refuses: what it may refuse with: whole codes of reasons, or their first part for all that begin so.
    """

    purpose: str
    caller: str
    methods: tuple[str, ...]
    parameters: tuple[Parameter, ...] = ()
    statuses: tuple[str, ...] = ("200",)
    answers: tuple[Member, ...] = ()
    refuses: tuple[str, ...] = ()
