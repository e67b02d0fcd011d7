"""docs/reference/admin-api.md: the admin API, from its own OpenAPI document."""

from __future__ import annotations

from typing import Any

from reference import running
from reference.markdown import code, head, table

from affiant.server.admin import roles
from affiant.server.admin.app import OPERATIONS
from affiant.server.admin.routes import operation

_TEXT = """\
Below `<issuer>/admin/api`, with an access token for it. Callers, roles, lists and changes are described in
[The admin API](admin.md); the same as here, for programs, is its OpenAPI document, `GET /openapi.json`.

A refusal is a problem document (RFC 9457) with `type`, `title`, `status`, `detail`, `reason` and `trace_id`."""
_REF = "#/components/schemas/"
_REFUSALS = "300"  # the statuses from here on


def build() -> str:
    """The page, in Markdown."""
    document = description()
    schemas = document["components"]["schemas"]
    routes = "".join(
        _route(method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    documents = "".join(_document(name, schema) for name, schema in schemas.items())
    return (
        f"{head('Routes of the admin API', _TEXT, change='src/affiant/server/admin')}{routes}\n# Documents\n{documents}"
    )


def description() -> dict[str, Any]:
    """The OpenAPI document of the server."""
    return operation.describe(OPERATIONS, identifier=roles.identifier(running.ISSUER))


def _route(method: str, path: str, operation: dict[str, Any]) -> str:
    parameters = [
        (code(p["name"]), p["in"], _type(p["schema"]), p.get("description", ""), "required" if p["required"] else "")
        for p in operation.get("parameters", ())
    ]
    answers = sorted(operation["responses"].items())
    sent = _content(operation.get("requestBody"))
    given = "; ".join(f"{status} {_content(answer)}".strip() for status, answer in answers if status < _REFUSALS)
    refused = ", ".join(status for status, _ in answers if status >= _REFUSALS)
    return (
        f"\n## `{method.upper()} {path}`\n\n{operation['description']} Role: {operation['x-role']}.\n"
        f"{table(('parameter', 'where', 'type', 'meaning', ''), parameters)}"
        + (f"\nSends {sent}.\n" if sent else "")
        + f"\nAnswers {given}; refuses with {refused}.\n"
    )


def _content(body: dict[str, Any] | None) -> str:
    content = (body or {}).get("content", {})
    kinds = [_type(told["schema"]) if kind == "application/json" else code(kind) for kind, told in content.items()]
    return " or ".join(kinds)


def _document(name: str, schema: dict[str, Any]) -> str:
    needed = schema.get("required", ())
    rows = (
        (code(member), _type(told), told.get("description", ""), "always" if member in needed else "")
        for member, told in schema.get("properties", {}).items()
    )
    return f"\n## {name}\n{_line(schema.get('description'))}{table(('member', 'type', 'meaning', ''), rows)}"


def _line(text: str | None) -> str:
    return f"\n{text}\n" if text else ""


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return " or ".join(code(str(value)) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    limits = [f"{word} {schema[name]:,.0f}" for name, word in _LIMITS.items() if name in schema]
    return ", ".join([str(schema.get("type", "any")), *limits])


_LIMITS = {"minimum": "from", "maximum": "to", "minLength": "from length", "maxLength": "to length"}
