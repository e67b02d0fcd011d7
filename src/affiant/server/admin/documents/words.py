"""Types that many documents share."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from affiant.server.admin.models import Checked, Out
from affiant.server.registry import kinds

# No control characters in names for people: a terminal would obey them, and PostgreSQL does not store all.
LABEL, WORD = r"^[^\x00-\x1f\x7f-\x9f]+$", r"^[!-~]+$"
Word = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=WORD)]
Seconds = Annotated[int, Field(ge=0, le=10**11, description="seconds since 1970")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=LABEL)]
Identifier = Annotated[str, Checked(kinds.API)]
ClientId = Annotated[str, Checked(kinds.CLIENT_ID)]
Rules = Annotated[list[str], Checked(kinds.RULES)]
Scope = Annotated[list[str], Checked(kinds.SCOPE)]
Apis = Annotated[list[str], Checked(kinds.APIS)]
Types = Annotated[list[str], Checked(kinds.TYPES)]
TeamName = Annotated[str, Checked(kinds.NAME)]
SecretId = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{16,64}$"),
    Field(description="its id, by which the caller finds it if the answer is lost; a new one when left out"),
]
OwnKeys = Annotated[
    Literal["keep", "revoke"], Field(description="with jwks: whether keys that the client added itself stay")
]
Role = Literal["viewer", "operator", "owner"]


class Problem(Out):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    reason: str
    trace_id: str
