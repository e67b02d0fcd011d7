"""RFC 9396: authorization_details in token requests, as far as clients ask in their own name."""

import json
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from tests.rfc.conftest import API, OTHER_API, refusal

from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.storage.records import Api
from affiant.testing import ISSUER, NOW, Server

PAYMENT = {"type": "payment", "actions": ["initiate"], "amount": {"value": "1.50", "currency": "EUR"}}
ACCOUNT = {"type": "account", "locations": [API], "identifier": "DE1"}
BOTH = ("payment", "account")


@pytest.fixture
async def rich(server: Server) -> Server:
    """The default API knows payments and accounts, the other one audits; `c1` may ask for all of them."""
    for identifier, types in ((API, BOTH), (OTHER_API, ("audit",))):
        standing = await server.store.apis.find(identifier)
        assert standing is not None
        await server.store.apis.remove(identifier)
        await server.store.apis.add(replace(standing, authorization_details_types=types))
    options: dict[str, Any] = {
        "authorization_details_types": (*BOTH, "audit", "nowhere"),
        "resources": (API, OTHER_API),
    }
    await server.add_client("rich", **options)
    await server.add_client("again", grant_types=("client_credentials", "refresh_token"), **options)
    return server


async def ask(server: Server, details: Any, *, client_id: str = "rich", **parameters: Any) -> httpx2.Response:
    text = details if isinstance(details, str) else json.dumps(details)
    signed = server.assertion(client_id)
    return await server.post(server.form(signed, authorization_details=text, **parameters))


async def reason(server: Server) -> str:
    rows = await server.store.audit_log.export(limit=1000)
    found: str = json.loads(rows[-1].record)["reason"]
    return found


@pytest.mark.rfc(9396, "7")
@pytest.mark.rfc(9396, "9.1")
async def test_granted_details(rich: Server) -> None:
    members = (await ask(rich, [PAYMENT, ACCOUNT])).json()
    assert members["authorization_details"] == [PAYMENT, ACCOUNT]
    assert compact.parse(members["access_token"]).claims["authorization_details"] == [PAYMENT, ACCOUNT]


@pytest.mark.rfc(9396, "6")
async def test_unrequested_details_are_not_granted(rich: Server) -> None:
    members = (await rich.post(rich.form(rich.assertion(iss="rich", sub="rich")))).json()
    assert "authorization_details" not in members
    assert "authorization_details" not in compact.parse(members["access_token"]).claims


@pytest.mark.rfc(9396, "5")
@pytest.mark.parametrize("text", ["x", "{}", "[]", "[{}]", '[{"type":1}]', '[{"type":"payment","actions":"x"}]'])
async def test_malformed_details(rich: Server, text: str) -> None:
    assert refusal(await ask(rich, text)) == (400, "invalid_authorization_details")
    assert await reason(rich) == Reason.DETAILS_MALFORMED.code


@pytest.mark.rfc(9396, "5")
@pytest.mark.parametrize(
    ("details", "resource"),
    [
        ([{"type": "unknown"}], API),
        ([{"type": "nowhere"}], API),
        ([{"type": "audit"}], API),
        ([{"type": "Payment"}], API),
        ([PAYMENT, {"type": "audit"}], API),
        ([{"type": "payment", "locations": [OTHER_API]}], API),
        ([{"type": "payment", "locations": ["https://elsewhere.example"]}], [API, OTHER_API]),
        ([{"type": "payment", "locations": [API, OTHER_API]}], [API, OTHER_API]),
    ],
)
async def test_unregistered_details(rich: Server, details: Any, resource: Any) -> None:
    assert refusal(await ask(rich, details, resource=resource)) == (400, "invalid_authorization_details")
    assert await reason(rich) == Reason.DETAILS_NOT_ALLOWED.code


@pytest.mark.rfc(9396, "5")
async def test_unregistered_type(rich: Server) -> None:
    assert refusal(await ask(rich, [PAYMENT], client_id="c1")) == (400, "invalid_authorization_details")


@pytest.mark.rfc(9396, "2.2")
async def test_locations_are_among_resources(rich: Server) -> None:
    details = [{"type": "payment", "locations": [API]}, {"type": "audit", "locations": [OTHER_API]}]
    reply = await ask(rich, details, resource=[API, OTHER_API])
    assert reply.json()["authorization_details"] == details


@pytest.mark.rfc(9396, "6")
async def test_refresh_with_fewer_details(rich: Server) -> None:
    token = (await ask(rich, [PAYMENT, ACCOUNT], client_id="again")).json()["refresh_token"]

    async def refresh(details: Any) -> httpx2.Response:
        parameters = {"grant_type": "refresh_token", "refresh_token": token}
        if details is None:
            signed = rich.assertion(iss="again", sub="again")
            return await rich.post(rich.form(signed, **parameters))
        return await ask(rich, details, client_id="again", **parameters)

    for more in (
        [{**PAYMENT, "actions": ["initiate", "cancel"]}],
        [{"type": "payment"}],
        [PAYMENT, {"type": "account"}],
    ):
        assert refusal(await refresh(more)) == (400, "invalid_authorization_details")
    less = (await refresh([ACCOUNT])).json()
    assert less["authorization_details"] == [ACCOUNT]
    token = less["refresh_token"]
    assert (await refresh(None)).json()["authorization_details"] == [PAYMENT, ACCOUNT]


@pytest.mark.rfc(8707, "2.2")
@pytest.mark.rfc(9396, "6")
async def test_refresh_for_one_resource(rich: Server) -> None:
    """What was granted for the other is left out of the token, as its scope is; the next one may have it again."""
    mine, theirs = {"type": "payment", "locations": [API]}, {"type": "audit"}
    made = (await ask(rich, [mine, theirs], client_id="again", resource=[API, OTHER_API])).json()
    token = made["refresh_token"]
    for resource, entries in ((API, [mine]), (OTHER_API, [theirs]), ([API, OTHER_API], [mine, theirs])):
        signed = rich.assertion(iss="again", sub="again")
        asked = {"grant_type": "refresh_token", "refresh_token": token, "resource": resource}
        reply = await rich.post(rich.form(signed, **asked))
        assert reply.status_code == 200, reply.text
        assert reply.json()["authorization_details"] == entries
        assert compact.parse(reply.json()["access_token"]).claims["authorization_details"] == entries
        token = reply.json()["refresh_token"]
    asked = {"grant_type": "refresh_token", "refresh_token": token, "resource": API}
    assert refusal(await ask(rich, [theirs], client_id="again", **asked)) == (400, "invalid_authorization_details")


@pytest.mark.rfc(9396, "6")
async def test_refresh_after_a_lost_type(rich: Server) -> None:
    token = (await ask(rich, [PAYMENT], client_id="again")).json()["refresh_token"]
    await rich.store.clients.update("again", lambda client: replace(client, authorization_details_types=("account",)))
    signed = rich.assertion(iss="again", sub="again")
    reply = await rich.post(rich.form(signed, grant_type="refresh_token", refresh_token=token))
    assert refusal(reply) == (400, "invalid_authorization_details")


@pytest.mark.rfc(9396, "9.2")
async def test_introspection_has_the_details(rich: Server) -> None:
    await rich.add_client("api", introspects=(API,))
    token = (await ask(rich, [PAYMENT])).json()["access_token"]
    asked = {**rich.form(rich.assertion(iss="api", sub="api")), "token": token}
    told = (await rich.http.post("/introspect", data=asked)).json()
    assert told["authorization_details"] == [PAYMENT]


@pytest.mark.rfc(9396, "10")
async def test_metadata_list_the_types(rich: Server) -> None:
    async def told() -> list[str]:
        reply = await rich.http.get("/.well-known/oauth-authorization-server")
        found: list[str] = reply.json()["authorization_details_types_supported"]
        return found

    assert await told() == ["account", "audit", "payment"]
    made = Api("https://new.example", "new", (), is_default=False, created_at=NOW, authorization_details_types=("z",))
    await rich.store.apis.add(made)
    assert await told() == ["account", "audit", "payment", "z"]


async def test_metadata_without_types_have_no_member(server: Server) -> None:
    members = (await server.http.get("/.well-known/oauth-authorization-server")).json()
    assert members["issuer"] == ISSUER
    assert "authorization_details_types_supported" not in members


async def test_long_details_are_refused(rich: Server) -> None:
    """The most that may be asked for still makes a token that every reader takes."""
    least = '[{"type":"payment","x":""}]'
    reply = await ask(rich, least.replace('""', f'"{"x" * (4096 - len(least))}"'))
    assert len(reply.json()["access_token"]) <= compact.MAX_CHARACTERS
