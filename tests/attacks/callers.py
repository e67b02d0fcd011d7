"""Callers of the admin API: one client of each role on the bench, and what each asks."""

import json
from typing import Any

from tests.attacks.bench import Bench
from tests.attacks.registering import bearer
from tests.wire import JSON_TYPE, Header, Reply, Request

from affiant.server.admin.roles import SCOPES, Role
from affiant.storage.records import Team
from affiant.testing import ISSUER, Server

ADMIN = f"{ISSUER}/admin/api"
NOBODY, CLIENT = "anonymous", "client"  # without a token; with a token for another API
ROLES = tuple(role.value for role in Role)
OTHER_OWNER = "owner2"
OF_TEAM = "payments-operator"
TEAM = "payments"


async def hire(server: Server) -> None:
    """Register the admin API, and a client of each role; there are two owners."""
    await server.add_api(ADMIN, name="admin", scope=SCOPES)
    for role in Role:
        await server.add_client(role.value, scope=(role.scope,), resources=(ADMIN,))
    await server.add_client(OTHER_OWNER, scope=(Role.OWNER.scope,), resources=(ADMIN,))
    await server.store.teams.add(Team(TEAM, scope=("r", "w"), resources=("https://api.example",)))
    await server.add_client(OF_TEAM, scope=(Role.OPERATOR.scope,), resources=(ADMIN,), administers=(TEAM,))


async def token(bench: Bench, client_id: str, **changes: str) -> str:
    """Return an access token of this client, for the admin API unless it says otherwise."""
    return str((await bench.good(bench.signed(client_id, **{"resource": ADMIN, **changes})))["access_token"])


async def credentials(bench: Bench, who: str) -> tuple[Header, ...]:
    if who == NOBODY:
        return ()
    return (bearer(await token(bench, "c1", resource="absent") if who == CLIENT else await token(bench, who)),)


async def ask(
    bench: Bench,
    who: str,
    what: str,
    body: Any = None,
    *headers: Header,
    query: str = "",
    held: tuple[Header, ...] | None = None,
) -> Reply:
    """Ask the admin API: ``GET /clients``; with a new token, unless one is held."""
    method, path = what.split(" ", 1)
    sent = () if body is None else (JSON_TYPE,)
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    given = (*(await credentials(bench, who) if held is None else held), *sent, *headers)
    return await bench.send(Request(data, method, f"/admin/api{path}", query=query.encode(), headers=given))
