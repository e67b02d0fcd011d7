"""What an operator ended stays ended, whatever happens to the client or the API afterwards."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from tests.admin import asking
from tests.rfc.conftest import OTHER_API, running

from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.server.registry.credentials import keys as client_keys
from affiant.storage.memory import MemoryStore
from affiant.storage.records import ClientKey
from affiant.testing import NOW, Server


@pytest.fixture
async def refreshing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A server with `r1`, which has refresh tokens for OTHER_API."""
    grants = ("client_credentials", "refresh_token")
    async with running(MemoryStore()) as server:
        await server.add_client("r1", grant_types=grants, resources=(OTHER_API,), scope=("other.read",))
        yield server


async def _refresh(server: Server, text: str) -> int:
    form: dict[str, Any] = server.form(server.assertion("r1"))
    reply = await server.post({**form, "grant_type": "refresh_token", "refresh_token": text})
    return reply.status_code


async def test_reenabled_client_has_no_old_tokens(refreshing: Server) -> None:
    token = await refreshing.token("r1", resource=OTHER_API)
    async with asking(refreshing.store) as admin:
        for enabled in (False, True):
            assert (await admin.patch("/clients/r1", json={"enabled": enabled})).status_code == 200
    refreshing.clock.now += 5
    assert await _refresh(refreshing, token["refresh_token"]) == 400


async def test_restored_api_has_no_old_tokens(refreshing: Server) -> None:
    token = await refreshing.token("r1", resource=OTHER_API)
    document = {"identifier": OTHER_API, "name": "o", "scopes": ["other.read"]}
    async with asking(refreshing.store) as admin:
        assert (await admin.delete(f"/apis/{quote(OTHER_API, safe='')}")).status_code < 300
        assert (await admin.post("/apis", json=document)).status_code < 300
    refreshing.clock.now += 5
    assert await _refresh(refreshing, token["refresh_token"]) == 400


def test_unproved_keys_displace_no_revoked_key() -> None:
    leaked = client_keys.build(keys.generate("Ed25519").public(), now=NOW)
    standing: tuple[ClientKey, ...] = (replace(leaked, revoked_at=NOW),)
    for _ in range(client_keys.MAX_REVOKED + 5):
        announced = client_keys.build(keys.generate("Ed25519").public(), now=NOW, is_proved=False)
        standing = client_keys.add(standing, [replace(announced, revoked_at=NOW)], now=NOW)
    with pytest.raises(ConfigError, match="never comes back"):
        client_keys.add(standing, [leaked], now=NOW + 1)


@pytest.mark.parametrize("kid", ["a\0", "\x1b[2J", "\u202ex", "\n", "\x85"])
def test_kid_must_be_printable(kid: str) -> None:
    with pytest.raises(ConfigError, match="printable"):
        keys.parse_public_jwk({**keys.generate("ES256").public().to_jwk(), "kid": kid})
