"""A refused token of the server's audit log."""

from __future__ import annotations

from affiant.cli.connection.admin import Admin, segment
from affiant.server.registry.federation.platforms.adding import refused
from affiant.server.registry.federation.platforms.adding.refused import RefusedToken
from affiant.storage.records import NotFound


async def read(api: Admin, trace_id: str) -> tuple[RefusedToken, bool]:
    """Return the token of this request, and whether its client has to be registered."""
    record = {"trace_id": trace_id, **await api.get(f"/audit/{segment(trace_id)}")}
    token = refused.read(record, await api.all("/trusts"))
    return token, not await _exists(api, token.client_id)


async def _exists(api: Admin, client_id: str) -> bool:
    try:
        await api.get(f"/clients/{segment(client_id)}")
    except NotFound:
        return False
    return True
