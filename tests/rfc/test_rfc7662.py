"""RFC 7662: whether a token still stands; rows of T11 by their numbers."""

from dataclasses import replace

import pytest
from tests.rfc.conftest import API, OTHER_API, access_token, post_raw
from tests.rfc.standing import INACTIVE, apis, introspect, is_active, refreshing, revoke

from affiant.jose import compact, keys
from affiant.reasons import Reason
from affiant.testing import ISSUER, NOW, Server, basic

__all__ = ["apis"]  # a fixture


@pytest.mark.rfc(7662, "2.2")
async def test_active_token(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    claims = compact.parse(token).claims
    reply = await introspect(apis, token)
    assert (reply.status_code, reply.headers["cache-control"]) == (200, "no-store")
    assert reply.json() == {"active": True, "token_type": "Bearer", **claims}


@pytest.mark.attack(228)
@pytest.mark.rfc(7662, "2.1")
@pytest.mark.rfc(7662, "2.3")
async def test_caller_must_authenticate(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    assert (await apis.http.post("/introspect", data={"token": token})).status_code == 401
    wrong = await apis.http.post("/introspect", data={"token": token}, headers=basic("rs-a", "wrong"))
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    bearer = {"authorization": f"Bearer {token}"}
    assert (await apis.http.post("/introspect", data={"token": token}, headers=bearer)).status_code == 401


@pytest.mark.attack(228)
async def test_client_without_introspects(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    reply = await introspect(apis, token, by="client_secret_basic")
    assert (reply.status_code, reply.json()["error"]) == (403, "unauthorized_client")
    record = await apis.store.audit_log.find(reply.json()["trace_id"])
    assert record is not None
    assert (record["reason"], record["endpoint"]) == (Reason.INTROSPECTION_NOT_ALLOWED.code, "introspect")


@pytest.mark.attack(229)
@pytest.mark.rfc(7662, "2.2")
async def test_token_for_another_api_is_inactive(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    assert (await introspect(apis, token, by="rs-b")).json() == INACTIVE


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


@pytest.mark.rfc(7662, "4")
async def test_not_yet_valid_token_is_inactive(apis: Server) -> None:
    """MUST: a token with nbf stands from then on, and says since when."""
    token = await access_token(apis, nbf=NOW + 10)
    assert (await introspect(apis, token)).json() == INACTIVE
    apis.clock.now += 10
    assert (await introspect(apis, token)).json()["nbf"] == NOW + 10


@pytest.mark.rfc(7662, "4")
async def test_revoked_token_is_inactive(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    assert await is_active(apis, token)
    await revoke(apis, token)
    assert (await introspect(apis, token)).json() == INACTIVE


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


@pytest.mark.attack(232)
@pytest.mark.rfc(7662, "2.1")
@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense"])
async def test_hint_changes_nothing(apis: Server, hint: str) -> None:
    token = (await apis.token())["access_token"]
    assert (await introspect(apis, token, token_type_hint=hint)).json()["active"] is True
    assert (await revoke(apis, token, token_type_hint=hint)).status_code == 200
    assert not await is_active(apis, token)


@pytest.mark.attack(233)
async def test_never_by_get(apis: Server) -> None:
    reply = await apis.http.get("/introspect", params={"token": "x"})
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert (await post_raw(apis, "", headers=basic("rs-a", apis.secrets["rs-a"]))).status_code == 400


async def test_token_is_required(apis: Server) -> None:
    reply = await apis.http.post("/introspect", data={"x": "y"}, headers=basic("rs-a", apis.secrets["rs-a"]))
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request")


async def test_reuse_ends_the_access_tokens(apis: Server) -> None:
    first = await refreshing(apis)
    second = await refreshing(apis, grant_type="refresh_token", refresh_token=first["refresh_token"])
    apis.clock.now += 200
    form = apis.form(apis.assertion("refreshing"), grant_type="refresh_token")
    assert (await apis.post({**form, "refresh_token": first["refresh_token"]})).status_code == 400
    assert not await is_active(apis, second["access_token"])


@pytest.mark.rfc(7523, "3(7)")
async def test_assertion_is_used_once_anywhere(apis: Server) -> None:
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
    for reply, outcome in ((await introspect(apis, token), "introspected"), (await revoke(apis, token), "revoked")):
        record = await apis.store.audit_log.find(reply.headers["x-trace-id"])
        assert record is not None
        assert (record["outcome"], record["detail"]) == (outcome, f"jti {jti}")
        assert token not in str(record)


@pytest.mark.rfc(8414, "2")
async def test_metadata(apis: Server) -> None:
    document = (await apis.http.get("/.well-known/oauth-authorization-server")).json()
    for name in ("introspection", "revocation"):
        assert document[f"{name}_endpoint"].startswith(f"{ISSUER}/")
        for kind in ("methods", "signing_alg_values"):
            # With a JWT method the algorithms are REQUIRED, at each endpoint.
            told = f"endpoint_auth_{kind}_supported"
            assert document[f"{name}_{told}"] == document[f"token_{told}"] != []
