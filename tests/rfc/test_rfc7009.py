"""RFC 7009: a client ends its own tokens; rows of T11 by their numbers."""

import httpx2
import pytest
from tests.rfc.conftest import API, access_token, refusal
from tests.rfc.standing import apis, introspect, is_active, refreshing, revoke

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.resource import Guard
from affiant.server.published import revocations as published
from affiant.testing import ISSUER, NOW, Server, basic

__all__ = ["apis"]  # a fixture


async def _refresh(server: Server, token: str) -> httpx2.Response:
    assertion = server.assertion("refreshing")
    return await server.post(server.form(assertion, grant_type="refresh_token", refresh_token=token))


@pytest.mark.rfc(7009, "2.1")
@pytest.mark.parametrize("path", ["/revoke", "/introspect"])
async def test_token_is_required(apis: Server, path: str) -> None:
    for form in ({}, {"token": ""}, {"token_type_hint": "access_token"}):
        reply = await apis.http.post(path, data=apis.form(**form))
        assert refusal(reply) == (400, "invalid_request")


@pytest.mark.rfc(6749, "3.2")
@pytest.mark.parametrize("path", ["/revoke", "/introspect"])
@pytest.mark.parametrize(
    "grant", ["client_credentials", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer", "x"]
)
async def test_parameters_of_grant_are_none_here(apis: Server, path: str, grant: str) -> None:
    """What is not known MUST be ignored: here no grant is asked for, and none authenticates a client."""
    token = (await apis.token())["access_token"]
    await apis.add_client("kafka", grant_types=("urn:ietf:params:oauth:grant-type:jwt-bearer",))
    form = {"token": token, "grant_type": grant, "assertion": apis.assertion("kafka")}
    assert refusal(await apis.http.post(path, data=form)) == (401, "invalid_client")
    for assertion in ({}, {"assertion": "x"}):
        sent = {"token": "x", "grant_type": grant, **assertion}
        reply = await apis.http.post(path, data=sent, headers=basic("rs-a", apis.secrets["rs-a"]))
        assert reply.status_code == 200, reply.text
    assert await is_active(apis, token)


@pytest.mark.attack(228)
@pytest.mark.rfc(7009, "2.1")
@pytest.mark.rfc(7662, "2.1")
@pytest.mark.rfc(7662, "2.3")
async def test_client_authenticates(apis: Server) -> None:
    """As it does for a token, by any of its methods; who does not, hears nothing and ends nothing."""
    token = (await apis.token())["access_token"]
    for headers in ({}, basic("rs-a", "wrong"), basic("nobody", "x"), {"authorization": f"Bearer {token}"}):
        for path in ("/revoke", "/introspect"):
            reply = await apis.http.post(path, data={"token": token}, headers=headers)
            assert refusal(reply) == (401, "invalid_client")
    assert await is_active(apis, token)
    method = "client_secret_basic"
    headers = basic(method, apis.secrets[method])
    other = (await apis.http.post("/token", data={"grant_type": "client_credentials"}, headers=headers)).json()
    reply = await apis.http.post("/revoke", data={"token": other["access_token"]}, headers=headers)
    assert reply.status_code == 200
    assert not await is_active(apis, other["access_token"])


@pytest.mark.attack(235)
@pytest.mark.rfc(7009, "2.1")
@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_not_token_of_another_client(apis: Server, kind: str) -> None:
    """The request is refused, the client told, and the token stands."""
    made = await refreshing(apis)
    reply = await revoke(apis, made[kind])
    assert refusal(reply) == (400, "invalid_grant")
    record = await apis.store.audit_log.find(reply.json()["trace_id"])
    assert record is not None
    assert record["reason"] == Reason.REVOCATION_FOREIGN.code
    assert await is_active(apis, made["access_token"])
    assert (await _refresh(apis, made["refresh_token"])).status_code == 200


@pytest.mark.rfc(7009, "2.1")
@pytest.mark.parametrize("late", [0, 10, 29])
async def test_revocation_precedes_the_feed(apis: Server, late: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard allows for clocks that differ: what it takes after its end can be revoked, and is not taken any more."""
    monkeypatch.setattr(published, "FRESH_SECONDS", 0.0)  # what was revoked is told to the next who asks
    monkeypatch.setattr(published, "SHARE", 1.0)
    token, other = (await apis.token())["access_token"], (await apis.token())["access_token"]
    apis.clock.now = NOW + 600 + late

    async def check(text: str) -> None:
        guard = Guard(ISSUER, audience=API, http=apis.http, clock=lambda: apis.clock.now)
        await guard.check([f"Bearer {text}".encode()])

    await check(token)
    assert (await revoke(apis, token)).status_code == 200
    with pytest.raises(Rejected) as refused:
        await check(token)
    assert refused.value.reason is Reason.TOKEN_REVOKED
    await check(other)
    assert not await is_active(apis, other)  # who asks the server is told the truth of now


@pytest.mark.attack(238)
@pytest.mark.rfc(7009, "2.1")
async def test_revoked_refresh_token_ends_access_tokens(apis: Server) -> None:
    """SHOULD: all of the line; those of another line of the same client stand on."""
    first, other = await refreshing(apis), await refreshing(apis)
    second = await refreshing(apis, grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert (await revoke(apis, second["refresh_token"], "refreshing")).status_code == 200
    for answer in (first, second):
        assert not await is_active(apis, answer["access_token"])
    assert await is_active(apis, other["access_token"])
    assert refusal(await _refresh(apis, second["refresh_token"])) == (400, "invalid_grant")


@pytest.mark.rfc(7009, "2.1")
async def test_access_token_leaves_its_refresh_token(apis: Server) -> None:
    """MAY: it does not end it, nor another access token, so that a client can end what it showed to one API."""
    made, other = await refreshing(apis), await refreshing(apis)
    await revoke(apis, made["access_token"], "refreshing")
    again = await _refresh(apis, made["refresh_token"])
    assert again.status_code == 200
    for token, stands in ((made, False), (other, True), (again.json(), True)):
        assert await is_active(apis, token["access_token"]) is stands


@pytest.mark.attack(232)
@pytest.mark.rfc(7009, "2.1")
@pytest.mark.rfc(7009, "2.2.1")
@pytest.mark.rfc(7662, "2.1")
@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense", "\u00e9"])
async def test_wrong_hint_widens_search(apis: Server, kind: str, hint: str) -> None:
    """MUST: across all kinds; one that is not known is ignored (section 2.2). None is an `unsupported_token_type`."""
    made = await refreshing(apis)
    assert (await introspect(apis, made["access_token"], token_type_hint=hint)).json()["active"] is True
    assert (await revoke(apis, made[kind], "refreshing", token_type_hint=hint)).status_code == 200
    assert not await is_active(apis, made["access_token"])


@pytest.mark.attack(236)
@pytest.mark.rfc(7009, "2.2")
@pytest.mark.rfc(7009, "5")
async def test_unknown_token_is_accepted(apis: Server) -> None:
    """Unknown, expired, another issuer's, or ended already: 200, and the same words, so that guessing finds nothing."""
    made = await refreshing(apis)
    texts = [
        *[made["access_token"], made["access_token"], made["refresh_token"], made["refresh_token"]],
        *["unknown", "a.b.c", "\u00e9", await access_token(apis, exp=NOW - 100)],
        await access_token(apis, iss="https://other.example"),
    ]
    for text in texts:
        reply = await revoke(apis, text, "refreshing")
        assert (reply.status_code, reply.json(), reply.headers["cache-control"]) == (200, {}, "no-store")
