"""The documents of users of the console, and of their links, passkeys and sessions."""

from typing import Annotated

from pydantic import Field

from affiant.server.admin.models import Checked, In, Out, shows, takes
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.users.rules import LINK_SECONDS, MAX_LINK_SECONDS
from affiant.server.registry import kinds
from affiant.server.registry.fields import By, Member, Table
from affiant.storage import records

USER: Table[records.User] = Table(
    Member(
        "role",
        kinds.Choice(tuple(role.value for role in Role)),
        "what it may do",
        option="--role",
    ),
    Member(
        "teams",
        kinds.TEAMS,
        "team whose clients, APIs and trusts it sees and changes; without one, all. An owner has no such limit",
        option="--team",
        metavar="TEAM",
    ),
    Member("enabled", kinds.Flag(), "false: it cannot sign in, and its sessions have ended", by=By.CHANGE),
)
Name = Annotated[str, Checked(kinds.NAME)]
Label = Annotated[str, Checked(kinds.LABEL)]


@shows(USER, records.User)
class _UserMembers(Out):
    name: str


class User(_UserMembers):
    """A person who uses the console."""

    created_at: int


@takes(USER.by(By.NEW))
class UserNew(In):
    """A user of the console; without a role, a viewer."""

    name: Name


@takes(USER.by(By.CHANGE))
class UserChanges(In):
    """Changes of a user; members that are left out stay."""


class LinkNew(In):
    """A link with which a user signs in once."""

    expires_in: Annotated[int, Field(ge=60, le=MAX_LINK_SECONDS, description="seconds")] = LINK_SECONDS


class Link(Out):
    """A link without its address, which is shown once."""

    user: str
    expires_at: int


class NewLink(Link):
    """A new link; it replaces the one that the user had."""

    url: Annotated[str, Field(description="shown this once: whoever opens it is the user")]


class Passkey(Out):
    """A passkey of a user."""

    id: Annotated[str, Field(description="the credential id of WebAuthn, in base64url")]
    user: str
    label: str
    created_at: int
    last_used_at: int | None


class PasskeyChanges(In):
    """A new label of a passkey."""

    label: Label


class Session(Out):
    """A browser in which a user is signed in."""

    id: str
    user: str
    created_at: int
    last_at: Annotated[int, Field(description="of the last request, up to 5 minutes late")]
    expires_at: int
    address: str
    agent: Annotated[str, Field(description="User-Agent of the sign-in")]
    passkey: Annotated[str | None, Field(description="id of the passkey that began it; null for a link")]


def view_user(record: records.User) -> User:
    return User(name=record.name, created_at=record.created_at, **USER.render(record))


def view_link(record: records.SignInLink) -> Link:
    return Link(user=record.username, expires_at=record.expires_at)


def view_passkey(record: records.Passkey) -> Passkey:
    return Passkey(
        id=record.id,
        user=record.username,
        label=record.label,
        created_at=record.created_at,
        last_used_at=record.last_used_at,
    )


def view_session(record: records.Session) -> Session:
    return Session(
        id=record.id,
        user=record.username,
        created_at=record.created_at,
        last_at=record.last_at,
        expires_at=record.expires_at,
        address=record.address,
        agent=record.agent,
        passkey=record.passkey,
    )
