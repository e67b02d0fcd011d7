"""A server that trusts platforms: trusts and rules from their members, as they are on the wire."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from tests.platforms.issuer import Issuer
from tests.platforms.trap import Good

from affiant.jose import compact
from affiant.oauth import names
from affiant.server.published.pages import GENERIC
from affiant.server.registry.federation.fields import RULE, TRUST
from affiant.storage.records import Rule, Trust
from affiant.testing import Server

API = "https://orders.example"
SCOPE = ("orders.read", "orders.write", "orders.admin")
CEILING = ("orders.read", "orders.write")  # of each rule
CARRIERS = ("assertion", "client_assertion")


@asynccontextmanager
async def trusting(*goods: Good, **options: Any) -> AsyncIterator[Server]:
    """A server with a trust, a rule and a client for each of these, all of them by the name of the platform."""
    async with Server.in_process(**options) as server:
        await server.add_api(API, scope=SCOPE, is_default=True)
        for good in goods:
            await add(server, good)
        yield server


async def add(server: Server, good: Good, *, name: str = "", **members: Any) -> None:
    """Add a trust, its rule, and a client that has no credential of its own."""
    name = name or good.platform
    await server.add_client(name, names.FEDERATED_JWT)
    await server.store.trusts.add(trust(good, name, **members))
    await server.store.rules.add(rule(good, name))


def trust(good: Good, name: str, **members: Any) -> Trust:
    wire = {
        "jwks": Issuer.of(good.token).jwks,
        "audiences": [good.audience],
        "max_lifetime": good.longest,
        "replay": good.replay,
        "refuses": {pointer: list(values) for pointer, values in good.refuses.items()},
        **members,
    }
    given = {name: value for name, value in wire.items() if value is not None}
    return TRUST.check(TRUST.put(Trust(name, good.token.issuer), given))


def rule(good: Good, name: str, **members: Any) -> Rule:
    conditions = {claim: list(v) if isinstance(v, tuple) else [v] for claim, v in good.pins.items()}
    wire = {"conditions": conditions, "scope": list(CEILING), "access_token_lifetime": 200, **members}
    return RULE.check(RULE.put(Rule(name, name, name), wire))


def form(text: str, carrier: str = "assertion", **more: str) -> dict[str, str]:
    """The request of a workload. A JWT-SVID has a type of its own."""
    if carrier == "assertion":
        return {"grant_type": names.JWT_BEARER, "assertion": text, **more}
    kind = names.JWT_SPIFFE_ASSERTION_TYPE if "iss" not in compact.parse(text).claims else ""
    return {
        "grant_type": names.CLIENT_CREDENTIALS,
        "client_assertion": text,
        "client_assertion_type": kind or names.JWT_BEARER_ASSERTION_TYPE,
        **more,
    }


async def ask(server: Server, text: str, carrier: str = "assertion", **more: str) -> dict[str, Any]:
    """The claims of the access token, after the members of the answer."""
    reply = await server.post(form(text, carrier, **more))
    assert reply.status_code == httpx2.codes.OK, reply.text
    members = reply.json()
    return {**members, **compact.parse(members["access_token"]).claims}


async def refused(server: Server, text: str, carrier: str = "assertion", **more: str) -> str:
    """The reason of the refusal, as the operator reads it; the caller is told it too, or nothing."""
    reply = await server.post(form(text, carrier, **more))
    members = reply.json()
    expected = (400, "invalid_grant") if carrier == "assertion" else (401, "invalid_client")
    assert (reply.status_code, members["error"]) == expected, members
    record = await audited(server, members["trace_id"])
    assert members["error_uri"].rpartition("/")[2] in {record["reason"], GENERIC}
    return str(record["reason"])


async def audited(server: Server, trace_id: str) -> dict[str, Any]:
    """The audit record of a request."""
    records = [json.loads(row.record) for row in await server.store.audit_log.export()]
    (found,) = (record for record in records if record["trace_id"] == trace_id)
    return dict(found)
