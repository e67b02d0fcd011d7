"""Who may do what: three roles, each a scope of the admin API, each able to do what the one before it may."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from affiant.errors import Rejected
from affiant.reasons import Reason
from affiant.storage.records import Client
from affiant.values import Value

PATH = "/admin/api"  # below the issuer; together they are the identifier of the admin API


class Role(Enum):
    """What a caller may do: viewers read, operators keep things running, owners decide who is who."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    OWNER = "owner"

    @property
    def scope(self) -> str:
        """The scope that a client needs for it."""
        return f"admin.{self.value}"

    def includes(self, other: Role) -> bool:
        """Whether who has this role may do what the other one may."""
        return _RANK[self] >= _RANK[other]


_RANK = {role: rank for rank, role in enumerate(Role)}
SCOPES = tuple(role.scope for role in Role)


class Principal(Value, frozen=True):
    """Who calls.

    Attributes:
        name: the client, or who sits at the data folder.
        role: what they may do.
        is_local: whether they sit at the data folder: whatever they do here, they could do there.
    """

    name: str
    role: Role
    is_local: bool = False

    def require(self, role: Role) -> None:
        """Let pass who has this role."""
        if not self.role.includes(role):
            raise Rejected(Reason.SCOPE_INSUFFICIENT, expected=role.scope, got=self.role.scope)


def identifier(issuer: str) -> str:
    """What tokens for the admin API of this server have for an audience."""
    return f"{issuer}{PATH}"


def highest(scopes: Iterable[str]) -> Role | None:
    """The highest role that these scopes give."""
    given = set(scopes)
    return next((role for role in reversed(Role) if role.scope in given), None)


def role_of(client: Client, api: str) -> Role | None:
    """The role of a registered client at this admin API; None where it has none.

    Who registered itself never has one, whatever stands in its record: its registration access token is worth as much
    as its keys, and nobody with a role gave it that.
    """
    is_in = client.enabled and api in client.resources and not registered_itself(client)
    return highest(client.scope) if is_in else None


def registered_itself(client: Client) -> bool:
    """Whether it came in by an initial access token, and looks after its own registration (RFC 7591, RFC 7592)."""
    return client.registered_by is not None or client.registration_token is not None


def touches_admin(client: Client, api: str) -> bool:
    """Whether it has, or lacks only one half of, a part in the admin API: an owner alone may make or change it."""
    named = {*client.resources, *client.introspects}
    return api in named or any(name in SCOPES for name in client.scope)
