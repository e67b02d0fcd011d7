"""The names of clients: each can stand in a path, whoever makes it."""

from __future__ import annotations

import pytest
from tests.desk import ADMIN, MASTER, NOW, asking

from affiant.errors import ConfigError
from affiant.server.registry import rules
from affiant.storage.memory import MemoryStore


@pytest.mark.parametrize("name", [".", ".."])
def test_no_client_has_a_name_that_no_path_can_address(name: str) -> None:
    """RFC 3986 section 5.2.4: these are taken out of a path, so its admin API could never show or remove it."""
    assert not rules.is_client_id(name)
    with pytest.raises(ConfigError, match=r"not \. or \.\."):
        rules.build_client(name, auth_method="client_secret_basic", master_key=MASTER, now=NOW)


@pytest.mark.parametrize("name", ["...", ".a", "a.", "..a", "a", "-", "~", "_", "a" * 64])
def test_other_names_with_dots_are_names(name: str) -> None:
    assert rules.is_client_id(name)


@pytest.mark.parametrize("name", ["", "a" * 65, "a/b", ".\n", "a\n", "%2e", "\u0661"])
def test_these_never_were(name: str) -> None:
    assert not rules.is_client_id(name)


@pytest.mark.anyio
@pytest.mark.parametrize("name", [".", ".."])
async def test_the_admin_api_refuses_them(name: str) -> None:
    async with asking(MemoryStore()) as http:
        wanted = {"client_id": name, "token_endpoint_auth_method": "client_secret_basic"}
        reply = await http.post(f"{ADMIN}/clients", json=wanted)
    assert (reply.status_code, reply.json()["reason"]) == (422, "admin.invalid")
