"""What a client and an API choose about access tokens: how long they live, and their typ."""

from dataclasses import replace
from typing import Any

import httpx2
import pytest
from tests.rfc.conftest import API, OTHER_API, access_token

from affiant.jose import compact
from affiant.testing import Server, basic


async def _choose(server: Server, client: dict[str, Any], api: dict[str, Any], other: dict[str, Any]) -> None:
    await server.add_client("two", scope=("read", "other.read"), resources=(API, OTHER_API))
    await server.store.clients.update("two", lambda found: replace(found, **client))
    await server.store.apis.update(API, lambda found: replace(found, **api))
    await server.store.apis.update(OTHER_API, lambda found: replace(found, **other))


async def _token(server: Server, *resource: str) -> dict[str, Any]:
    return await server.token("two", resource=list(resource))


@pytest.mark.parametrize(
    ("client", "api", "other", "one", "both"),
    [
        (None, None, None, 600, 600),
        (900, None, None, 900, 900),  # as MSAL needs it
        (60, None, None, 60, 60),
        (None, 300, None, 300, 300),  # as SMART demands it
        (None, 3600, None, 3600, 600),
        (None, 3600, 1200, 3600, 1200),
        (900, 300, None, 300, 300),
        (300, 900, None, 300, 300),
        (900, 3600, None, 900, 900),
    ],
)
async def test_smallest_lifetime_that_is_named_wins(
    server: Server, client: int | None, api: int | None, other: int | None, one: int, both: int
) -> None:
    """The setting (600) counts where none is named; no API's tokens live longer because another one is named."""
    await _choose(
        server,
        {"access_token_lifetime": client},
        {"access_token_lifetime": api},
        {"access_token_lifetime": other},
    )
    for resource, seconds in (((API,), one), ((API, OTHER_API), both)):
        members = await _token(server, *resource)
        claims = compact.parse(members["access_token"]).claims
        assert (members["expires_in"], claims["exp"] - claims["iat"]) == (seconds, seconds)


@pytest.mark.rfc(9068, "2.1")
async def test_api_with_typ_jwt(server: Server, api: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    """For verifiers that know no other. Our own guard keeps to RFC 9068 section 4, and refuses them."""
    await _choose(server, {}, {"access_token_typ": "JWT"}, {})
    token = (await _token(server, API))["access_token"]
    assert compact.parse(token).header["typ"] == "JWT"
    with caplog.at_level("INFO", logger="affiant.resource"):
        refused = await api.get("/", headers={"authorization": f"Bearer {token}"})
    assert (refused.status_code, "token.type" in caplog.text) == (401, True)
    other = (await _token(server, OTHER_API))["access_token"]
    assert compact.parse(other).header["typ"] == "at+jwt"


@pytest.mark.rfc(9068, "2.1")
async def test_typ_jwt_is_introspected_and_revoked(server: Server) -> None:
    await _choose(server, {}, {"access_token_typ": "JWT"}, {})
    await server.add_client("rs", "client_secret_basic", introspects=(API, OTHER_API))
    headers = basic("rs", server.secrets["rs"])

    async def is_active(text: str) -> bool:
        answered = await server.http.post("/introspect", data={"token": text}, headers=headers)
        return bool(answered.json()["active"])

    token = (await _token(server, API))["access_token"]
    assert await is_active(token)
    # An API that has chosen nothing never hears of a token of another typ.
    assert not await is_active(await access_token(server, aud=OTHER_API, header={"typ": "JWT"}))
    form = server.form(server.assertion("two"), token=token)
    assert (await server.http.post("/revoke", data=form)).status_code == 200
    assert not await is_active(token)
