"""How far a new server is: its first API, its first client, its first token."""

from __future__ import annotations

from typing import Any, NamedTuple

from affiant.server.admin.roles import identifier
from affiant.server.console.api import Api

_LOOKED_AT = 20  # a server with as many clients is no new one, whatever these are for


class First(NamedTuple):
    """The first API, the first client of it, and the newest answer of the token endpoint to that client."""

    api: dict[str, Any] | None
    client: dict[str, Any] | None
    answered: dict[str, Any] | None  # an audit record

    @property
    def is_set_up(self) -> bool:
        return self.api is not None and self.client is not None

    @property
    def has_token(self) -> bool:
        return self.answered is not None and self.answered["outcome"] == "issued"


async def find(api: Api, issuer: str) -> First:
    """Find them; the admin API itself, and clients that are for it alone, do not count."""
    admin = identifier(issuer)
    apis = (await api.get("/apis", limit=_LOOKED_AT))["items"]
    clients = (await api.get("/clients", limit=_LOOKED_AT))["items"]
    registered = next((one for one in apis if one["identifier"] != admin), None)
    client = next((one for one in clients if one["resources"] != [admin]), None)
    answered = await _answered(api, client["client_id"]) if client is not None else None
    return First(registered, client, answered)


async def _answered(api: Api, client_id: str) -> dict[str, Any] | None:
    found = await api.get("/audit", client_id=client_id, endpoint="token", limit=1)
    return found["items"][0]["record"] if found["items"] else None
