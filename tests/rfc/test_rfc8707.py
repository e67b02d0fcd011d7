"""RFC 8707, resource indicators. Those of a refresh are in test_refresh.py."""

from typing import Any

import pytest
from tests.rfc.conftest import API, OTHER_API, refusal

from affiant.jose import compact
from affiant.testing import ISSUER, Server

INVALID_TARGET = (400, "invalid_target")


@pytest.fixture
async def two(server: Server) -> Server:
    """The server, with the client `two` that may ask for both APIs."""
    await server.add_client("two", scope=("read", "other.read"), resources=(API, OTHER_API))
    return server


async def _claims(server: Server, **parameters: Any) -> dict[str, Any]:
    assertion = server.assertion("two")
    token = (await server.token(client_assertion=assertion, **parameters))["access_token"]
    return compact.parse(token).claims


@pytest.mark.rfc(8707, "2")
async def test_forbidden_resource(server: Server) -> None:
    """It gets the same answer as one that does not exist."""
    known = await server.post(server.form(resource=OTHER_API))
    unknown = await server.post(server.form(resource="https://unknown.example"))
    assert refusal(known) == refusal(unknown) == INVALID_TARGET
    assert known.json()["error_description"] == unknown.json()["error_description"]


@pytest.mark.rfc(8707, "2")
@pytest.mark.parametrize("asked", [API, OTHER_API, [API, OTHER_API], [OTHER_API, OTHER_API]])
async def test_audience_is_another_name_of_resource(two: Server, asked: str | list[str]) -> None:
    """RFC 8693 section 2.1.1 has the parameter, and clients of other servers send it with every grant."""
    sent = [asked] if isinstance(asked, str) else list(dict.fromkeys(asked))
    aud = (await _claims(two, audience=asked))["aud"]
    assert (aud if isinstance(aud, list) else [aud]) == sent


@pytest.mark.rfc(8707, "2")
@pytest.mark.parametrize(
    "audience",
    ["https://unknown.example", f"{API}/", "orders", "an api", [API, "orders"], [API, "https://unknown.example"]],
)
async def test_unknown_audience(two: Server, audience: Any) -> None:
    """It need not be a URI. A token for another API than the one that was named helps nobody."""
    reply = await two.post(two.form(two.assertion(iss="two", sub="two"), audience=audience))
    assert refusal(reply) == INVALID_TARGET
    assert reply.json()["error_uri"] == f"{ISSUER}/errors/resource.not_allowed"
    assert API in reply.json()["error_description"]
    record = await two.store.audit_log.find(reply.json()["trace_id"])
    assert record is not None
    assert record["resource"] == (audience if isinstance(audience, str) else " ".join(audience))


@pytest.mark.rfc(8707, "2")
@pytest.mark.parametrize(
    ("resource", "audience", "aud"),
    [
        ([API], [API], API),
        ([API, OTHER_API], [OTHER_API, API], [API, OTHER_API]),
        ([API], [""], API),
        ([""], [OTHER_API], OTHER_API),
        ([API], [OTHER_API], None),
        ([API], [API, OTHER_API], None),
        ([API, OTHER_API], [API], None),
        ([API], ["orders"], None),
    ],
)
async def test_resource_and_audience_name_same_apis(two: Server, resource: Any, audience: Any, aud: Any) -> None:
    """Neither is the union taken, which is more than either says, nor one of them believed."""
    reply = await two.post(
        two.form(two.assertion(iss="two", sub="two"), resource=resource, audience=audience),
    )
    if aud is None:
        assert refusal(reply) == INVALID_TARGET
        assert reply.json()["error_uri"] == f"{ISSUER}/errors/resource.conflict"
    else:
        assert compact.parse(reply.json()["access_token"]).claims["aud"] == aud


@pytest.mark.rfc(8707, "2.2")
async def test_audience_stays_within_the_grant(server: Server) -> None:
    first = await server.token("refreshing")
    form = server.form(server.assertion("refreshing"), refresh_token=first["refresh_token"])
    form |= {"grant_type": "refresh_token"}
    assert refusal(await server.post(form | {"audience": OTHER_API})) == INVALID_TARGET
