"""Operations of the admin API, routes that always have a role; and their OpenAPI document."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Annotated, Any

from pydantic import AliasPath, BaseModel, Field, TypeAdapter, create_model

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.server.admin.calls import Call
from affiant.server.admin.documents import Problem
from affiant.server.admin.lists import LINES
from affiant.server.admin.models import In
from affiant.server.admin.problems import MEDIA_TYPE
from affiant.server.admin.roles import Principal, Role
from affiant.server.registry.kinds import MAX_CLIENT_ID

__all__ = ["Call", "ClientId", "IfMatch", "Operation", "Reach", "Routes"]
# Reasons of refusals, in addition to those of every operation.
UNKNOWN, TAKEN = (Reason.ADMIN_NOT_FOUND,), (Reason.ADMIN_EXISTS,)
OF_SECRETS = (*UNKNOWN, Reason.ADMIN_CHANGED)
OF_CHANGES = (*UNKNOWN, Reason.ADMIN_CHANGED, Reason.ADMIN_LAST_OWNER)
_PLACES = ("path", "query", "header", "body")  # mistakes are listed in this order
IfMatch = Annotated[
    str | None,
    Field(max_length=1000, description="the ETag of the document that is to be changed or removed, and no other"),
]
ClientId = Annotated[
    str, Field(max_length=MAX_CLIENT_ID, description="percent-encoded, as in urn%3Aapp%3Abilling or a%2Fb")
]

# Reasons that every route may refuse with: before it is reached, or because the store or the signer fails.
_ALWAYS = (
    Reason.ADMIN_QUERY, Reason.TOKEN_MISSING, Reason.SCOPE_INSUFFICIENT, Reason.TOO_SLOW, Reason.TOO_LARGE,
    Reason.LIMIT_FAILURES, Reason.STORE, Reason.SIGNER,
)  # fmt: skip
_OF_BODIES = (Reason.ADMIN_JSON, Reason.ADMIN_INVALID)
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "RFC 6750; RFC 8705"},
    "dpop": {"type": "http", "scheme": "DPoP", "description": "RFC 9449, with a DPoP proof"},
}
_INFO = {
    "title": "affiant admin API",
    "summary": "Who may ask this server for what, what was asked, and the keys it signs with.",
    "version": "1",
}
_REF = "#/components/schemas/{model}"
_PROBLEM = {"content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model=Problem.__name__)}}}}


class Reach(Enum):
    """Whose records an operation reads and changes, for callers whose role is limited to teams."""

    TEAMS = "teams"  # those of their teams: all that it does is on the store of its call (access/store.py)
    OWN = "own"  # its own user, with its passkeys and sessions
    SERVER = "server"  # the whole server: it is refused to them
    PUBLIC = "public"  # no team's: each of them may see it


@dataclass(frozen=True)
class Operation:
    """An operation; its models are built at its first call, because a command calls one of forty.

    The arguments of `endpoint` after the call are parameters of the path, a document (`In`), which is the body, the
    header If-Match (`IfMatch`), and parameters of the query.
    """

    noun: str
    method: str
    path: str  # below the admin API
    role: Role  # the lowest that may call it
    reach: Reach
    endpoint: Callable[..., Any]
    answers: Any  # the document of its answer; None for no content
    status: int = 200
    refuses: Sequence[Reason] = ()  # in addition to those of every operation
    is_list: bool = False  # also answers as JSON Lines
    is_long: bool = False  # may read many rows, as every list does; such reads are admitted (reads.py)
    team_role: Role | None = None  # the lowest that may call it within its teams, where that is another one

    def admit(self, who: Principal) -> None:
        """Raise Rejected unless the role of the caller, and its limit, allow the operation."""
        is_limited = who.limit is not None
        who.require(self.team_role if is_limited and self.team_role is not None else self.role)
        if is_limited and self.reach is Reach.SERVER:
            raise Rejected(Reason.ADMIN_TEAM, expected="a caller who is not limited to teams")

    @property
    def is_admitted(self) -> bool:
        """Whether it waits for its turn among the long reads."""
        return self.is_long or self.is_list

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches the path below the admin API, as it was sent."""
        return compile_path(self.path)

    @cached_property
    def places(self) -> dict[str, tuple[str, str]]:
        """The place in the request, and the name there, of each argument after the call."""
        found = {one.name: self._place(one) for one in self._parameters.values() if one.name != "call"}
        return dict(sorted(found.items(), key=lambda one: _PLACES.index(one[1][0])))

    @cached_property
    def asked(self) -> type[BaseModel]:
        """The model that reads the arguments after the call from a request, whose members are given by place."""
        fields: dict[str, Any] = {}
        for name, place in self.places.items():
            parameter = self._parameters[name]
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[name] = (parameter.annotation, Field(default, validation_alias=AliasPath(*filter(None, place))))
        return create_model("Asked", **fields)

    @cached_property
    def body(self) -> type[In] | None:
        """The document of the request."""
        return next((self._parameters[name].annotation for name, (at, _) in self.places.items() if at == "body"), None)

    @cached_property
    def answer(self) -> TypeAdapter[Any]:
        """Validates the document of the answer and writes it as JSON."""
        return TypeAdapter(self.answers)

    @cached_property
    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.endpoint).parameters

    def _place(self, one: inspect.Parameter) -> tuple[str, str]:
        if one.name in re.findall(r"{(\w+)", self.path):
            return "path", one.name
        if isinstance(one.annotation, type) and issubclass(one.annotation, In):
            return "body", ""
        return ("header", "if-match") if one.annotation == IfMatch else ("query", one.name)


@dataclass
class Routes:
    """The routes of one noun."""

    noun: str
    all: list[Operation] = field(default_factory=list)

    def __call__(
        self,
        request: str,
        role: Role,
        reach: Reach,
        *,
        answers: Any = None,
        status: int = 200,
        refuses: Sequence[Reason] = (),
        is_list: bool = False,
        is_long: bool = False,
        team_role: Role | None = None,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare the decorated function as the operation ``METHOD /path``."""
        method, path = request.split(" ")

        def declare(endpoint: Callable[..., Any]) -> Callable[..., Any]:
            self.all.append(
                Operation(
                    self.noun,
                    method,
                    path,
                    role,
                    reach,
                    endpoint,
                    answers,
                    status,
                    refuses,
                    is_list,
                    is_long,
                    team_role,
                )
            )
            return endpoint

        return declare


def compile_path(path: str) -> re.Pattern[str]:
    """Return what matches a path with names in braces; ``{name:path}`` may have slashes."""
    pattern = re.sub(r"\\{(\w+):path\\}", r"(?P<\1>.+)", re.escape(path))
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", pattern), re.DOTALL)


def describe(routes: Sequence[Operation], *, identifier: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of these routes below this URL."""
    documents: list[Any] = [(Problem, "serialization", TypeAdapter(Problem))]
    documents += [(route, "serialization", route.answer) for route in routes if route.answers is not None]
    documents += [(route, "validation", TypeAdapter(route.body)) for route in routes if route.body is not None]
    schemas, components = TypeAdapter.json_schemas(documents, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _describe(route, schemas)
        paths.setdefault(route.path.replace(":path", ""), {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": _INFO,
        "servers": [{"url": identifier}],
        "paths": paths,
        "components": {"schemas": components["$defs"], "securitySchemes": _SECURITY},
        "security": [{name: []} for name in _SECURITY],
    }


def _describe(route: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    name = route.endpoint.__name__.rstrip("_")
    operation: dict[str, Any] = {
        "tags": [route.noun],
        "summary": name.replace("_", " ").strip().title(),
        "description": route.endpoint.__doc__,
        "operationId": name,
        "x-role": route.role.value,
        "x-reach": route.reach.value,
    }
    if parameters := _describe_parameters(route):
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": schemas[route, "validation"]}}
        operation["requestBody"] = {"required": True, "content": content}
    operation["responses"] = _describe_responses(route, schemas)
    return operation


def _describe_parameters(route: Operation) -> list[dict[str, Any]]:
    schema = route.asked.model_json_schema(by_alias=False)
    parameters = []
    for argument, (place, name) in route.places.items():
        if place == "body":
            continue
        one = schema["properties"][argument]
        parameter = {"name": name, "in": place, "required": argument in schema.get("required", ()), "schema": one}
        if "description" in one:
            parameter["description"] = one.pop("description")
        if one.get("default", ...) is None:
            del one["default"]  # a query or a header has no null
        parameters.append(parameter)
    return parameters


def _describe_responses(route: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    content = {}
    if route.answers is not None:
        content["application/json"] = {"schema": schemas[route, "serialization"]}
    if route.is_list:
        content[LINES] = {"schema": {"type": "string"}}
    responses: dict[str, Any] = {str(route.status): {"description": "Successful Response"}}
    if content:
        responses[str(route.status)]["content"] = content
    sends = _OF_BODIES if route.method in ("POST", "PATCH", "PUT") else ()
    for reason in (*_ALWAYS, *sends, *route.refuses):
        responses.setdefault(str(reason.value.status), {"description": reason.value.sentence, **_PROBLEM})
    return responses
