"""The OpenAPI 3.1 document of the admin API, built from the declared routes and their models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from affiant.reasons import Reason
from affiant.server.admin.documents import Problem
from affiant.server.admin.problems import MEDIA_TYPE
from affiant.server.admin.reads.lists import LINES
from affiant.server.admin.routes.operation import Operation

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


def build(routes: Sequence[Operation], *, identifier: str) -> dict[str, Any]:
    """Return the document for these routes below this URL."""
    documents: list[Any] = [(Problem, "serialization", TypeAdapter(Problem))]
    documents += [(route, "serialization", route.answer) for route in routes if route.answers is not None]
    documents += [(route, "validation", TypeAdapter(route.body)) for route in routes if route.body is not None]
    schemas, components = TypeAdapter.json_schemas(documents, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _operation(route, schemas)
        paths.setdefault(route.path.replace(":path", ""), {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": _INFO,
        "servers": [{"url": identifier}],
        "paths": paths,
        "components": {"schemas": components["$defs"], "securitySchemes": _SECURITY},
        "security": [{name: []} for name in _SECURITY],
    }


def _operation(route: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    name = route.endpoint.__name__.rstrip("_")
    operation: dict[str, Any] = {
        "tags": [route.noun],
        "summary": name.replace("_", " ").strip().title(),
        "description": route.endpoint.__doc__,
        "operationId": name,
        "x-role": route.role.value,
    }
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": schemas[route, "validation"]}}
        operation["requestBody"] = {"required": True, "content": content}
    operation["responses"] = _responses(route, schemas)
    return operation


def _parameters(route: Operation) -> list[dict[str, Any]]:
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


def _responses(route: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
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
