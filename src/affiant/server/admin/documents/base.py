"""The base of every document: the types of members, and the rules for all that is sent."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    create_model,
)
from pydantic_core import PydanticCustomError, core_schema

from affiant.server.registry.fields import Member, Table
from affiant.server.registry.kinds import Kind

Model = TypeVar("Model", bound=BaseModel)

# Of people's names: no control character, which a terminal would obey and PostgreSQL does not store.
LABEL, WORD = r"^[^\x00-\x1f\x7f-\x9f]+$", r"^[!-~]+$"
Label = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=LABEL)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=WORD)]
Seconds = Annotated[int, Field(ge=0, le=10**11, description="seconds since 1970")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=LABEL)]


@dataclass(frozen=True)
class Checked:
    """Validates a value by its kind, and keeps the JSON value as it was sent."""

    kind: Kind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return self.kind.schema()

    def _check(self, value: Any) -> Any:
        try:
            self.kind.parse(value)
        except ValueError as error:
            raise PydanticCustomError("member", "must be {wanted}", {"wanted": str(error)}) from None
        return value


class Document(BaseModel):
    """Base of all documents; each is built when first used, because one process needs few of them."""

    model_config = ConfigDict(defer_build=True, hide_input_in_errors=True)  # an input may be a secret


class Out(Document):
    """Base of answers."""


class In(Document):
    """Base of requests. An unknown member and a value of another JSON type, such as "yes" for true, are mistakes."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Problem(Out):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    reason: str
    trace_id: str


def page(item: type[Out]) -> Any:
    """The document of a list of these."""
    return type(f"{item.__name__}Page", (Out,), {"__annotations__": {"items": list[item], "next": str | None}})  # type: ignore[valid-type]


def takes(rows: Iterable[Member]) -> Callable[[type[Model]], type[Model]]:
    """Add these members to a request, each as its row reads it; a member of the class itself stays."""

    def extend(model: type[Model]) -> type[Model]:
        return _extended(
            model,
            {
                row.name: (Annotated[Any, Checked(row.kind)] | None, Field(default=None, description=row.meaning))
                for row in rows
                if row.name not in model.model_fields
            },
        )

    return extend


def shows(table: Table[Any], record: type) -> Callable[[type[Model]], type[Model]]:
    """Add all members of these records to an answer."""
    defaults = {each.name: each.default for each in fields(record)}

    def extend(model: type[Model]) -> type[Model]:
        return _extended(
            model,
            {
                row.name: (
                    row.kind.rendered | None if defaults.get(row.name) is None else row.kind.rendered,
                    Field(description=row.meaning),
                )
                for row in table
            },
        )

    return extend


def members(document: BaseModel, rows: Iterable[Member]) -> dict[str, Any]:
    """Return the members that a request gives, as JSON values."""
    found = {row.name: getattr(document, row.name) for row in rows}
    return {name: value for name, value in found.items() if value is not None}


def _extended(model: type[Model], added: dict[str, Any]) -> type[Model]:
    return create_model(model.__name__, __base__=model, __module__=model.__module__, __doc__=model.__doc__, **added)
