"""RFC 7662: whether a token still stands; rows of T11 by their numbers."""

from dataclasses import replace

import pytest
from tests.rfc.conftest import API, OTHER_API, access_token
from tests.rfc.standing import INACTIVE, apis, introspect, is_active, revoke

from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.oauth.introspection import MEDIA_TYPE
from affiant.testing import NOW, Server

__all__ = ["apis"]  # a fixture


@pytest.mark.rfc(7662, "2.2")
async def test_active_token(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    claims = compact.parse(token).claims
    reply = await introspect(apis, token)
    assert (reply.status_code, reply.headers["cache-control"]) == (200, "no-store")
    assert reply.json() == {"active": True, "token_type": "Bearer", **claims}


@pytest.mark.attack(228)
@pytest.mark.parametrize("accept", ["*/*", MEDIA_TYPE])
async def test_client_without_introspects(apis: Server, accept: str) -> None:
    token = (await apis.token())["access_token"]
    reply = await introspect(apis, token, by="client_secret_basic", accept=accept)
    assert (reply.status_code, reply.json()["error"]) == (403, "unauthorized_client")
    record = await apis.store.audit_log.find(reply.json()["trace_id"])
    assert record is not None
    assert (record["reason"], record["endpoint"]) == (Reason.INTROSPECTION_NOT_ALLOWED.code, "introspect")


@pytest.mark.attack(231)
@pytest.mark.rfc(7662, "4")
async def test_invalid_tokens_are_inactive(apis: Server) -> None:
    """Expired, another issuer's, of another kind, under another key, unsigned, or no token at all."""
    claims = compact.parse(await access_token(apis)).claims
    stranger = keys.generate("ES256")
    none = f"{compact.sign({'typ': 'at+jwt'}, claims, stranger).split('.')[0]}.e30."
    texts = [
        await access_token(apis, exp=NOW),
        await access_token(apis, iss="https://other.example"),
        await access_token(apis, header={"typ": "JWT"}),
        compact.sign({"typ": "at+jwt"}, claims, stranger),
        await access_token(apis, exp="x"),
        none,
        "x",
        "\u00e9.\u00e9.\u00e9",
    ]
    for text in texts:
        assert (await introspect(apis, text)).json() == INACTIVE


@pytest.mark.attack(231)
@pytest.mark.rfc(7662, "4")
async def test_not_yet_valid_token_is_inactive(apis: Server) -> None:
    """MUST: a token with nbf stands from then on, and says since when."""
    token = await access_token(apis, nbf=NOW + 10)
    assert (await introspect(apis, token)).json() == INACTIVE
    apis.clock.now += 10
    assert (await introspect(apis, token)).json()["nbf"] == NOW + 10


@pytest.mark.rfc(6749, "3.3")
@pytest.mark.rfc(7662, "2.2")
async def test_other_audiences_are_left_out(apis: Server) -> None:
    """A scope has at least one name, and authorization_details at least one entry: empty ones are none."""
    details = [{"type": "unknown"}]
    token = await access_token(apis, aud=[API, OTHER_API], scope="read", authorization_details=details)
    told = (await introspect(apis, token, by="rs-b")).json()
    assert told["active"] is True
    assert not {"scope", "authorization_details"} & set(told)


@pytest.mark.attack(231)
async def test_token_of_a_removed_client(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    await apis.store.clients.update("c1", lambda client: replace(client, enabled=False))
    assert not await is_active(apis, token)
    await apis.store.clients.update("c1", lambda client: replace(client, enabled=True))
    assert await is_active(apis, token)
    await apis.store.clients.remove("c1")
    assert not await is_active(apis, token)


@pytest.mark.attack(228)
@pytest.mark.rfc(7523, "3(7)")
@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
async def test_assertion_is_used_once_anywhere(apis: Server, path: str) -> None:
    """One jti: what was used here is a replay here and at /token, and the other way round."""
    await apis.add_client("rs-key", introspects=(API,))
    token = (await apis.token("rs-key"))["access_token"]
    for places in ((path, path, "/token"), ("/token", path)):
        form = apis.form(apis.assertion("rs-key"), token=token)
        statuses = [(await apis.post(form, path=place)).status_code for place in places]
        assert statuses == [200, *[401] * (len(places) - 1)]


@pytest.mark.rfc(7009, "5")
async def test_every_decision_is_written_down(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    jti = compact.parse(token).claims["jti"]
    for reply, outcome in ((await introspect(apis, token), "introspected"), (await revoke(apis, token), "revoked")):
        record = await apis.store.audit_log.find(reply.headers["x-trace-id"])
        assert record is not None
        assert (record["outcome"], record["detail"]) == (outcome, f"jti {jti}")
        assert token not in str(record)
