"""Three roles, each a scope of the admin API; each one includes the one before it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.storage.records import Client
from affiant.system.values import Value

PATH = "/admin/api"  # below the issuer; together they are the identifier of the admin API


class Role(Enum):
    """Viewers read, operators run the service, owners register clients and APIs."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    OWNER = "owner"

    @property
    def scope(self) -> str:
        return f"admin.{self.value}"

    def includes(self, other: Role) -> bool:
        """Whether this role may do everything that the other one may."""
        return _RANK[self] >= _RANK[other]


_RANK = {role: rank for rank, role in enumerate(Role)}
SCOPES = tuple(role.scope for role in Role)


class Principal(Value, frozen=True):
    """A caller of the admin API."""

    name: str  # of the client, of the user of the console, or of the OS user at the data folder
    role: Role
    is_local: bool = False  # at the data folder, where the same changes are possible without the API
    is_user: bool = False  # of the console
    teams: frozenset[str] | None = None  # whose clients, APIs and trusts it sees and changes; None for all

    @property
    def is_client(self) -> bool:
        """Whether a client of this server calls, by an access token."""
        return not (self.is_local or self.is_user)

    @property
    def limit(self) -> frozenset[str] | None:
        """The teams to which the caller is limited; None for no limit, as every owner has."""
        return None if self.role is Role.OWNER else self.teams

    def require(self, role: Role) -> None:
        """Raise SCOPE_INSUFFICIENT if the caller has a lower role."""
        if not self.role.includes(role):
            raise Rejected(Reason.SCOPE_INSUFFICIENT, expected=role.scope, got=self.role.scope)


def identifier(issuer: str) -> str:
    """Return the identifier of the admin API, the audience of its tokens."""
    return f"{issuer}{PATH}"


def highest(scopes: Iterable[str]) -> Role | None:
    """Return the highest role of these scopes."""
    given = set(scopes)
    return next((role for role in reversed(Role) if role.scope in given), None)


def role_of(client: Client, api: str) -> Role | None:
    """Return the role of a client at this admin API; None if it has none.

    A client that registered itself has none, whatever its record says: its registration access token is worth as much
    as its keys, and no owner gave it that.
    """
    is_in = client.enabled and api in client.resources and not registered_itself(client)
    return highest(client.scope) if is_in else None


def registered_itself(client: Client) -> bool:
    """Whether it registered with an initial access token and manages its own registration (RFC 7591, RFC 7592)."""
    return client.registered_by is not None or client.registration_token is not None


def touches_admin(client: Client, api: str) -> bool:
    """Whether it has a part in the admin API, or one half of it; only an owner may make or change such a client."""
    named = {*client.resources, *client.introspects}
    return api in named or bool(client.administers) or any(name in SCOPES for name in client.scope)
