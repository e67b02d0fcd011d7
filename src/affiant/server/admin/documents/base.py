"""The base of every document: the types of members, and the rules for all that is sent."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

from affiant.storage.entries import LONGEST_TOKEN

# Of people's names: no control character, which a terminal would obey and PostgreSQL does not store.
LABEL, WORD = r"^[^\x00-\x1f\x7f-\x9f]+$", r"^[!-~]+$"
Label = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=LABEL)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=WORD)]
Words = Annotated[list[Word], Field(max_length=64)]
Seconds = Annotated[int, Field(ge=0, le=10**11, description="seconds since 1970")]
TokenLifetime = Annotated[int, Field(ge=0, le=LONGEST_TOKEN)]
LIFETIME = "seconds that its access tokens live; 0 for the setting of the server"
Name = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=LABEL)]


def _check_true(value: bool) -> bool:  # noqa: FBT001 - a member of a document
    if not value:
        raise ValueError("Input should be True")
    return value


# Not Literal[True]: that takes 1, which equals True in Python.
OnlyTrue = Annotated[
    bool, AfterValidator(_check_true), WithJsonSchema({"const": True, "type": "boolean"}), Field(strict=True)
]


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
