"""APIs."""

from typing import Annotated

from affiant.server.admin.documents.base import Checked, In, Out, shows, takes
from affiant.server.registry import fields, kinds
from affiant.storage import records

Identifier = Annotated[str, Checked(kinds.API)]


@shows(fields.API, records.Api)
class _Members(Out):
    identifier: str


class Api(_Members):
    """An API that tokens are for."""

    created_at: int


@takes(fields.API)
class ApiNew(In):
    """An API to be registered; the first one is the default unless it says otherwise."""

    identifier: Identifier
    name: Annotated[str, Checked(kinds.LABEL)]
    is_default: bool | None = None


@takes(fields.API)
class ApiChanges(In):
    """Changes of an API; members that are left out stay."""
