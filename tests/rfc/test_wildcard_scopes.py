"""RFC 6749 section 3.3 with the scopes of SMART Backend Services, of which some cover others."""

from dataclasses import replace
from typing import Any

import pytest
from tests.rfc.conftest import API, refusal
from tests.rfc.registering import invite, metadata, register

from affiant.testing import Server, basic

pytestmark = pytest.mark.rfc(6749, "3.3")
INVALID_SCOPE = (400, "invalid_scope")


async def _smart(server: Server, *scopes: str, known: tuple[str, ...] = ("system/*.cruds",), **more: Any) -> None:
    await server.store.apis.update(API, lambda api: replace(api, scopes=known))
    await server.add_client("smart", scope=scopes, **more)


async def _scope(server: Server, scope: str | None = None, **more: Any) -> Any:
    form = server.form(server.assertion("smart"), **({"scope": scope} if scope else {}), **more)
    reply = await server.post(form)
    return reply.json()["scope"] if reply.status_code == 200 else refusal(reply)


async def test_narrower_than_the_wildcard(server: Server) -> None:
    """What is granted is what was asked for, and not the wildcard."""
    await _smart(server, "system/*.rs")
    for scope in ("system/Patient.rs", "system/*.r", "system/Patient.r system/Observation.rs?category=laboratory"):
        assert await _scope(server, scope) == scope
    assert await _scope(server) == "system/*.rs"
    for scope in ("system/Patient.cruds", "system/*.cruds", "system/Patient.read", "*", "system/Patient.r admin"):
        assert await _scope(server, scope) == INVALID_SCOPE


async def test_api_must_know_scope_too(server: Server) -> None:
    await _smart(server, "system/*.rs", "system/Patient.c", known=("system/Patient.rs",))
    assert await _scope(server, "system/Patient.r") == "system/Patient.r"
    for scope in ("system/Observation.rs", "system/*.rs", "system/Patient.c"):
        assert await _scope(server, scope) == INVALID_SCOPE


async def test_refresh_within_a_wildcard(server: Server) -> None:
    await _smart(server, "system/*.rs", grant_types=("client_credentials", "refresh_token"))
    form = server.form(server.assertion("smart"), scope="system/Patient.rs")
    token = (await server.post(form)).json()["refresh_token"]
    use = {"grant_type": "refresh_token", "refresh_token": token}
    assert await _scope(server, "system/*.rs", **use) == INVALID_SCOPE
    assert await _scope(server, "system/Patient.s", **use) == "system/Patient.s"
    assert await _scope(server, **use) == "system/Patient.rs"
    await server.store.clients.update("smart", lambda client: replace(client, scope=("system/Observation.rs",)))
    assert await _scope(server, "system/Patient.s", **use) == INVALID_SCOPE


async def test_introspection_of_a_wildcard(server: Server) -> None:
    """RFC 7662 section 2.2: a scope that the API does not know is not told, and this one it knows."""
    await _smart(server, "system/*.rs")
    await server.add_client("rs", "client_secret_basic", introspects=(API,))
    form = server.form(server.assertion("smart"), scope="system/Patient.rs")
    token = (await server.post(form)).json()["access_token"]
    answered = await server.http.post("/introspect", data={"token": token}, headers=basic("rs", server.secrets["rs"]))
    assert answered.json()["scope"] == "system/Patient.rs"


@pytest.mark.rfc(7591, "2")
@pytest.mark.parametrize(
    ("scope", "status"), [("system/Patient.r", 201), ("system/*.rs", 201), ("system/*.cruds", 400), ("*", 400)]
)
async def test_client_registers_itself_within_its_wildcard(server: Server, scope: str, status: int) -> None:
    await server.store.apis.update(API, lambda api: replace(api, scopes=("system/*.cruds",)))
    token = await invite(server, scope=("system/*.rs",))
    reply = await register(server, metadata(scope=scope), token=token)
    assert reply.status_code == status, reply.text
    assert status != 201 or reply.json()["scope"] == scope
