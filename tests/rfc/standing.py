"""Asking whether a token stands, and ending it: what the tests of RFC 7009, RFC 7662 and RFC 9701 share."""

from typing import Any

import httpx2
import pytest
from tests.rfc.conftest import API, OTHER_API

from affiant.testing import Server, basic

INACTIVE = {"active": False}


@pytest.fixture
async def apis(server: Server) -> Server:
    """The server, with the two APIs as clients of their own: `rs-a` and `rs-b`."""
    for name, api in (("rs-a", API), ("rs-b", OTHER_API)):
        await server.add_client(name, "client_secret_basic", introspects=(api,))
    return server


async def introspect(
    server: Server, token: str, *, by: str = "rs-a", accept: str = "*/*", **more: str
) -> httpx2.Response:
    headers = {**basic(by, server.secrets[by]), "accept": accept}
    return await server.http.post("/introspect", data={"token": token, **more}, headers=headers)


async def revoke(server: Server, token: str, client_id: str = "c1", **more: str) -> httpx2.Response:
    form = server.form(server.assertion(client_id), token=token, **more)
    return await server.http.post("/revoke", data=form)


async def is_active(server: Server, token: str) -> bool:
    members = (await introspect(server, token)).json()
    assert members["active"] or members == INACTIVE
    return bool(members["active"])


async def refreshing(server: Server, **form: Any) -> dict[str, Any]:
    """The members of an answer to the client that has refresh tokens."""
    return await server.token("refreshing", **form)
