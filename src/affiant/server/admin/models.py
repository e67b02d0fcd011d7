"""Models of documents: bases of requests and answers, and members made from the rows of registry/fields.py."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from dataclasses import fields as attributes
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic_core import PydanticCustomError, core_schema

from affiant.server.registry.fields import Member, Table
from affiant.server.registry.kinds import Kind

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Checked:
    """Validates a value by its kind, and keeps the JSON value as it was sent."""

    kind: Kind

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return self.kind.schema()

    def _check(self, value: Any) -> Any:
        try:
            self.kind.parse(value)
        except ValueError as error:
            raise PydanticCustomError("member", "must be {wanted}", {"wanted": str(error)}) from None
        return value


class Document(BaseModel):
    """Base of all documents; each is built at its first use, because one process needs few of them."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        defer_build=True, hide_input_in_errors=True
    )  # an input may be a secret


class Out(Document):
    """Base of answers."""

    @classmethod
    def of(cls, record: object) -> Self:
        """Return the document of a record with attributes of these names."""
        return cls.model_validate(record, from_attributes=True)


class In(Document):
    """Base of requests. An unknown member or a value of another JSON type, such as "yes" for true, is rejected."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)


def page(item: type[Out]) -> Any:
    """Return the document of a page of these."""
    return type(f"{item.__name__}Page", (Out,), {"__annotations__": {"items": list[item], "next": str | None}})  # type: ignore[valid-type]


def takes(rows: Iterable[Member]) -> Callable[[type[Model]], type[Model]]:
    """Add these members to a request, each as its row reads it; a member of the class itself stays."""

    def extend(model: type[Model]) -> type[Model]:
        added = {
            row.name: (Annotated[Any, Checked(row.kind)] | None, Field(default=None, description=row.meaning))
            for row in rows
            if row.name not in model.model_fields
        }
        return _extended(model, added)

    return extend


def shows(table: Table[Any], record: type) -> Callable[[type[Model]], type[Model]]:
    """Add all members of these records to an answer."""
    defaults = {each.name: each.default for each in attributes(record)}

    def extend(model: type[Model]) -> type[Model]:
        added = {}
        for row in table:
            may_be_none = defaults.get(row.name) is None
            kind = row.kind.rendered | None if may_be_none else row.kind.rendered
            added[row.name] = (kind, Field(description=row.meaning))
        return _extended(model, added)

    return extend


def members(document: BaseModel, rows: Iterable[Member]) -> dict[str, Any]:
    """Return the members that a request gives, as JSON values."""
    found = {row.name: getattr(document, row.name) for row in rows}
    return {name: value for name, value in found.items() if value is not None}


def _extended(model: type[Model], added: dict[str, Any]) -> type[Model]:
    return create_model(model.__name__, __base__=model, __module__=model.__module__, __doc__=model.__doc__, **added)
