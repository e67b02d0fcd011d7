"""A route and the role that it needs, in one breath: without a role there is no route."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Header, Path

from affiant.reasons import Reason
from affiant.server.admin import calls
from affiant.server.admin.calls import Call as _Call
from affiant.server.admin.roles import Role
from affiant.server.registry.rules import MAX_CLIENT_ID

Call = Annotated[_Call, Depends(calls.of)]
IfMatch = Annotated[
    str | None,
    Header(max_length=1000, description="the ETag of the document that is to be changed or removed, and no other"),
]
ClientId = Annotated[
    str, Path(max_length=MAX_CLIENT_ID, description="percent-encoded, as in urn%3Aapp%3Abilling or a%2Fb")
]


@dataclass(frozen=True, slots=True)
class Declared:
    """One route.

    Attributes:
        method: of HTTP.
        path: below the admin API.
        role: the least that may call it.
        answers: the document of its answer; None for no content.
        refuses: reasons of its own, beside those that every route has.
        is_list: whether it can be had as JSON Lines.
        is_long: whether it may read many rows, as every list does; such reads are admitted (reads/turns.py).
    """

    noun: str
    method: str
    path: str
    role: Role
    endpoint: Callable[..., Any]
    answers: Any
    status: int = 200
    refuses: Sequence[Reason] = ()
    is_list: bool = False
    is_long: bool = False

    @property
    def is_admitted(self) -> bool:
        """Whether it waits for a place among the long reads."""
        return self.is_long or self.is_list


@dataclass
class Routes:
    """The routes of one noun."""

    noun: str
    all: list[Declared] = field(default_factory=list)

    def __call__(
        self, request: str, role: Role, *, answers: Any = None, **options: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare the function that follows as the one that answers to ``GET /clients``."""
        method, path = request.split(" ")

        def declare(endpoint: Callable[..., Any]) -> Callable[..., Any]:
            self.all.append(Declared(self.noun, method, path, role, endpoint, answers, **options))
            return endpoint

        return declare
