"""RFC 7521 and RFC 7523 with draft-ietf-oauth-rfc7523bis: JWT client assertions."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import httpx2
import pytest
from tests.rfc.conftest import API, refusal
from tests.rsa_keys import rsa_key

from affiant.testing import ABSENT, ISSUER, KEY, Server

INVALID_CLIENT = (401, "invalid_client")


async def _answer(server: Server, assertion: str, **parameters: Any) -> tuple[int, str]:
    """Status and error; (200, "") for a token."""
    reply = await server.post(server.form(assertion, **parameters))
    return (200, "") if reply.status_code == 200 else refusal(reply)


@pytest.mark.rfc(7523, "5")
async def test_rs256_is_implemented(server: Server) -> None:
    """RS256 is mandatory to implement."""
    key = rsa_key()
    await server.add_client("rsa", key=key)
    assert await _answer(server, server.assertion("rsa", key=key)) == (200, "")


@pytest.mark.rfc(7523, "3(3)")
async def test_legacy_client_may_name_endpoint(server: Server) -> None:
    """Alone or beside the issuer; and only where the operator allowed it for this client."""
    record = await server.store.clients.find("c1")
    assert record is not None
    await server.store.clients.add(replace(record, client_id="old", audience_policy="legacy"))
    await server.store.clients.add(replace(record, client_id="fapi", audience_policy="string"))

    async def answer(name: str, aud: object) -> tuple[int, str]:
        return await _answer(server, server.assertion(name, key=KEY, aud=aud))

    assert await answer("old", f"{ISSUER}/token") == (200, "")
    assert await answer("old", ISSUER) == (200, "")
    assert await answer("old", [ISSUER, f"{ISSUER}/token"]) == (200, "")
    assert await answer("old", f"{ISSUER}/") == (200, "")
    assert await answer("old", [ISSUER, "https://other.example"]) == INVALID_CLIENT
    assert await answer("c1", f"{ISSUER}/") == INVALID_CLIENT
    assert await answer("fapi", ISSUER) == (200, "")
    assert await answer("fapi", [ISSUER]) == INVALID_CLIENT


@pytest.mark.rfc(7523, "3(7)")
async def test_audit_log_has_the_jti_digest(server: Server) -> None:
    """docs/reference/audit.md: an operator who has a jti, or a whole assertion without one, finds its request."""
    await server.store.clients.update("client_secret_jwt", lambda client: replace(client, jti_policy="legacy"))
    without = server.assertion("client_secret_jwt", jti=ABSENT)
    for text, named in ((server.assertion(jti="known"), "jti:known"), (without, f"jws:{without}")):
        reply = await server.post(server.form(text))
        record = await server.store.audit_log.find(reply.headers["x-trace-id"])
        assert record is not None
        assert record["jti_digest"] == sha256(named.encode()).hexdigest()


@pytest.mark.rfc(7523, "3(3)")
@pytest.mark.parametrize("path", ["/revoke", "/introspect"])
async def test_aud_is_issuer_at_every_endpoint(server: Server, path: str) -> None:
    """rfc7523bis section 4: never the endpoint that it is sent to, which a client may have from somebody else."""
    await server.add_client("api", introspects=(API,))

    async def answer(aud: object) -> httpx2.Response:
        signed = server.assertion("api", aud=aud)
        return await server.http.post(path, data={**server.form(signed), "token": "x"})

    assert (await answer(ISSUER)).status_code == 200
    for aud in (f"{ISSUER}{path}", f"{ISSUER}/token", [ISSUER, f"{ISSUER}{path}"], None):
        assert refusal(await answer(aud)) == INVALID_CLIENT
