"""RFC 7662 and RFC 7009: whether a token still stands, and ending it; rows of T11 by their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.rfc.conftest import API, ISSUER, NOW, OTHER_API, basic

from affiant.jose import compact, keys
from affiant.reasons import Reason

if TYPE_CHECKING:
    import httpx2
    from tests.rfc.conftest import Server

pytestmark = pytest.mark.anyio
INACTIVE = {"active": False}


@pytest.fixture
async def apis(server: Server) -> Server:
    """The server, with the two APIs as clients of their own: `rs-a` and `rs-b`."""
    for name, api in (("rs-a", API), ("rs-b", OTHER_API)):
        await server.register(name, "client_secret_basic", introspects=(api,))
    return server


async def _introspect(server: Server, token: str, *, by: str = "rs-a", **more: str) -> httpx2.Response:
    headers = basic(by, server.secrets[by])
    return await server.http.post("/introspect", data={"token": token, **more}, headers=headers)


async def _revoke(server: Server, token: str, client_id: str = "c1", **more: str) -> httpx2.Response:
    form = server.form(server.assertion(iss=client_id, sub=client_id), token=token, **more)
    return await server.http.post("/revoke", data=form)


async def _is_active(server: Server, token: str) -> bool:
    members = (await _introspect(server, token)).json()
    assert members["active"] or members == INACTIVE
    return bool(members["active"])


@pytest.mark.rfc(7662, "2.2")
async def test_an_active_token_is_told_of(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    claims = compact.parse(token).claims
    reply = await _introspect(apis, token)
    assert (reply.status_code, reply.headers["cache-control"]) == (200, "no-store")
    assert reply.json() == {"active": True, "token_type": "Bearer", **claims}


@pytest.mark.attack(228)
@pytest.mark.rfc(7662, "2.1")
async def test_the_caller_must_authenticate(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    assert (await apis.http.post("/introspect", data={"token": token})).status_code == 401
    wrong = await apis.http.post("/introspect", data={"token": token}, headers=basic("rs-a", "wrong"))
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    bearer = {"authorization": f"Bearer {token}"}
    assert (await apis.http.post("/introspect", data={"token": token}, headers=bearer)).status_code == 401


@pytest.mark.attack(228)
async def test_a_client_that_speaks_for_no_api_may_not(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    reply = await _introspect(apis, token, by="client_secret_basic")
    assert (reply.status_code, reply.json()["error"]) == (403, "unauthorized_client")
    record = await apis.store.audit_log.find(reply.json()["trace_id"])
    assert record is not None
    assert (record["reason"], record["endpoint"]) == (Reason.INTROSPECTION_NOT_ALLOWED.code, "introspect")


@pytest.mark.attack(229)
@pytest.mark.rfc(7662, "2.2")
async def test_a_token_for_another_api_is_inactive(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    assert (await _introspect(apis, token, by="rs-b")).json() == INACTIVE


@pytest.mark.attack(231)
@pytest.mark.rfc(7662, "4")
async def test_what_does_not_hold_is_inactive(apis: Server) -> None:
    """Expired, another issuer's, of another kind, under another key, unsigned, or no token at all."""
    claims = compact.parse(await apis.access_token()).claims
    stranger = keys.generate("ES256")
    none = f"{compact.sign({'typ': 'at+jwt'}, claims, stranger).split('.')[0]}.e30."
    texts = [
        await apis.access_token(exp=NOW),
        await apis.access_token(iss="https://other.example"),
        await apis.access_token(header={"typ": "JWT"}),
        compact.sign({"typ": "at+jwt"}, claims, stranger),
        await apis.access_token(exp="x"),
        none,
        "x",
        "\u00e9.\u00e9.\u00e9",
    ]
    for text in texts:
        assert (await _introspect(apis, text)).json() == INACTIVE


@pytest.mark.attack(231)
async def test_of_a_client_that_is_gone_nothing_stands(apis: Server) -> None:
    from dataclasses import replace

    token = (await apis.token())["access_token"]
    await apis.store.clients.update("c1", lambda client: replace(client, enabled=False))
    assert not await _is_active(apis, token)
    await apis.store.clients.update("c1", lambda client: replace(client, enabled=True))
    assert await _is_active(apis, token)
    await apis.store.clients.remove("c1")
    assert not await _is_active(apis, token)


@pytest.mark.attack(232)
@pytest.mark.rfc(7662, "2.1")
@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense"])
async def test_a_hint_changes_nothing(apis: Server, hint: str) -> None:
    token = (await apis.token())["access_token"]
    assert (await _introspect(apis, token, token_type_hint=hint)).json()["active"] is True
    assert (await _revoke(apis, token, token_type_hint=hint)).status_code == 200
    assert not await _is_active(apis, token)


@pytest.mark.attack(233)
@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
async def test_never_by_get(apis: Server, path: str) -> None:
    reply = await apis.http.get(path, params={"token": "x"})
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert (await apis.post_raw("", headers=basic("rs-a", apis.secrets["rs-a"]))).status_code == 400


@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
async def test_the_token_is_required(apis: Server, path: str) -> None:
    reply = await apis.http.post(path, data={"x": "y"}, headers=basic("rs-a", apis.secrets["rs-a"]))
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request")


@pytest.mark.rfc(7009, "2.1")
async def test_a_client_ends_its_token(apis: Server) -> None:
    """And no other: another of the same client stands on."""
    first, second = (await apis.token())["access_token"], (await apis.token())["access_token"]
    reply = await _revoke(apis, first)
    assert (reply.status_code, reply.json()) == (200, {})
    assert not await _is_active(apis, first)
    assert await _is_active(apis, second)


@pytest.mark.rfc(7009, "2.1")
@pytest.mark.attack(236)
async def test_unknown_and_again_are_well(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    for text in (token, token, "unknown", await apis.access_token(exp=NOW - 100)):
        assert (await _revoke(apis, text)).status_code == 200
    assert not await _is_active(apis, token)


@pytest.mark.attack(235)
@pytest.mark.rfc(7009, "2.1")
async def test_not_of_another_client(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    reply = await _revoke(apis, token, "refreshing")
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_grant")
    assert await _is_active(apis, token)
    record = await apis.store.audit_log.find(reply.json()["trace_id"])
    assert record is not None
    assert record["reason"] == Reason.REVOCATION_FOREIGN.code


async def _refreshing(server: Server, **form: Any) -> dict[str, Any]:
    return await server.token(assertion=server.assertion(iss="refreshing", sub="refreshing"), **form)


@pytest.mark.attack(238)
@pytest.mark.rfc(7009, "2.1")
async def test_a_refresh_token_takes_its_access_tokens_along(apis: Server) -> None:
    """All of the line; those of another line of the same client stand on."""
    first, other = await _refreshing(apis), await _refreshing(apis)
    second = await _refreshing(apis, grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert (await _revoke(apis, second["refresh_token"], "refreshing")).status_code == 200
    for answer in (first, second):
        assert not await _is_active(apis, answer["access_token"])
    assert await _is_active(apis, other["access_token"])
    again = await apis.post(
        apis.form(
            apis.assertion(iss="refreshing", sub="refreshing"),
            grant_type="refresh_token",
            refresh_token=second["refresh_token"],
        )
    )
    assert again.json()["error"] == "invalid_grant"


async def test_a_stolen_refresh_token_takes_them_along_too(apis: Server) -> None:
    first = await _refreshing(apis)
    second = await _refreshing(apis, grant_type="refresh_token", refresh_token=first["refresh_token"])
    apis.now[0] += 200
    form = apis.form(apis.assertion(iss="refreshing", sub="refreshing"), grant_type="refresh_token")
    assert (await apis.post({**form, "refresh_token": first["refresh_token"]})).status_code == 400
    assert not await _is_active(apis, second["access_token"])


@pytest.mark.rfc(7009, "2.1")
async def test_another_clients_refresh_token(apis: Server) -> None:
    token = (await _refreshing(apis))["refresh_token"]
    assert (await _revoke(apis, token)).json()["error"] == "invalid_grant"


@pytest.mark.rfc(7523, "3(7)")
async def test_an_assertion_is_good_once_at_all_endpoints(apis: Server) -> None:
    """One jti: what was used at /revoke is a replay at /token, and the other way round."""
    token = (await apis.token())["access_token"]
    used = apis.assertion()
    assert (await apis.http.post("/revoke", data=apis.form(used, token=token))).status_code == 200
    assert (await apis.post(apis.form(used))).status_code == 401
    used = apis.assertion()
    assert (await apis.post(apis.form(used))).status_code == 200
    assert (await apis.http.post("/revoke", data=apis.form(used, token=token))).status_code == 401


async def test_every_decision_is_written_down(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    jti = compact.parse(token).claims["jti"]
    for reply, outcome in ((await _introspect(apis, token), "introspected"), (await _revoke(apis, token), "revoked")):
        record = await apis.store.audit_log.find(reply.headers["x-trace-id"])
        assert record is not None
        assert (record["outcome"], record["detail"]) == (outcome, f"jti {jti}")
        assert token not in str(record)


@pytest.mark.rfc(8414, "2")
async def test_metadata(apis: Server) -> None:
    document = (await apis.http.get("/.well-known/oauth-authorization-server")).json()
    for name in ("introspection", "revocation"):
        assert document[f"{name}_endpoint"].startswith(f"{ISSUER}/")
        assert document[f"{name}_endpoint_auth_methods_supported"] == document["token_endpoint_auth_methods_supported"]
