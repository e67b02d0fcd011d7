"""Callers of the admin API: one client of each role on the bench, and what each asks."""

from __future__ import annotations

import json
from typing import Any

from tests.attacks.bench import ISSUER, NOW, Bench, Reply, Request, assertion, form, post

from affiant.jose.signer import Signer
from affiant.server.admin.roles import SCOPES, Role
from affiant.storage.records import Api

ADMIN = f"{ISSUER}/admin/api"
NOBODY, CLIENT = "anonymous", "client"  # without a token; with a token for another API
ROLES = tuple(role.value for role in Role)
OTHER_OWNER = "owner2"


async def hire(bench: Bench) -> None:
    """Register the admin API, and a client of each role; there are two owners."""
    api = Api(ADMIN, "admin", SCOPES, is_default=False, created_at=NOW)
    await bench.store.apis.add(api)
    for role in Role:
        await bench.register(role.value, scope=(role.scope,), resources=(ADMIN,))
    await bench.register(OTHER_OWNER, scope=(Role.OWNER.scope,), resources=(ADMIN,))


async def token(bench: Bench, client_id: str, *signer: Signer, **changes: str) -> str:
    """An access token of this client, for the admin API unless it says otherwise."""
    bench.serial += 1
    times = {"iat": int(bench.now[0]), "exp": int(bench.now[0]) + 60}
    text = assertion(*signer, iss=client_id, sub=client_id, jti=f"admin{bench.serial}", **times)
    reply = await bench.send(post(form(text, **{"resource": ADMIN, **changes})))
    assert reply.status == 200, reply.body
    return str(reply.json()["access_token"])


async def credentials(bench: Bench, who: str) -> tuple[tuple[bytes, bytes], ...]:
    """The Authorization header of one of these."""
    if who == NOBODY:
        return ()
    text = await token(bench, "c1", resource="absent") if who == CLIENT else await token(bench, who)
    return ((b"authorization", f"Bearer {text}".encode()),)


async def ask(
    bench: Bench, who: str, what: str, body: Any = None, *headers: tuple[bytes, bytes], query: str = ""
) -> Reply:
    """Ask the admin API: ``GET /clients``."""
    method, path = what.split(" ", 1)
    sent = () if body is None else ((b"content-type", b"application/json"),)
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    given = await credentials(bench, who)
    return await bench.send(
        Request(data, method, f"/admin/api{path}", query=query.encode(), headers=(*given, *sent, *headers))
    )
