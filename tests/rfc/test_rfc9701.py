"""RFC 9701: the answer to an introspection as a JWT that the server signed."""

from typing import Any

import httpx2
import pytest
from tests.rfc.conftest import API, OTHER_API, access_token
from tests.rfc.standing import apis, introspect

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.oauth.introspection import MEDIA_TYPE, verify
from affiant.resource import Guard
from affiant.testing import ISSUER, NOW, Server, basic

__all__ = ["apis"]  # a fixture


async def _introspect(server: Server, token: str, *, by: str = "rs-a", accept: str = MEDIA_TYPE) -> httpx2.Response:
    return await introspect(server, token, by=by, accept=accept)


async def _told(server: Server, reply: httpx2.Response, *, by: str = "rs-a") -> dict[str, Any]:
    assert (reply.status_code, reply.headers["content-type"]) == (200, MEDIA_TYPE), reply.text
    verified = compact.verify(compact.parse(reply.text), (await server.signing_key()).public())
    return verify(verified, issuer=ISSUER, audience=by, now=server.clock.now)


@pytest.mark.rfc(9701, "5")
async def test_answer_is_same_and_signed(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    signed, plain = await _introspect(apis, token), await _introspect(apis, token, accept="application/json")
    assert await _told(apis, signed) == plain.json()
    parsed = compact.parse(signed.text)
    assert parsed.header["typ"] == "token-introspection+jwt"
    assert set(parsed.claims) == {"iss", "aud", "iat", "token_introspection"}
    assert (parsed.claims["iss"], parsed.claims["aud"], parsed.claims["iat"]) == (ISSUER, "rs-a", NOW)
    for reply in (signed, plain):
        assert (reply.headers["cache-control"], reply.headers["vary"]) == ("no-store", "Accept")
        record = await apis.store.audit_log.find(reply.headers["x-trace-id"])
        assert record is not None
        assert record["outcome"] == "introspected"


@pytest.mark.rfc(9701, "5")
async def test_inactive_answer_has_one_member(apis: Server) -> None:
    token = (await apis.token())["access_token"]
    for text, by in ((token, "rs-b"), ("x", "rs-a"), (await access_token(apis, exp=NOW), "rs-a")):
        assert await _told(apis, await _introspect(apis, text, by=by), by=by) == {"active": False}


@pytest.mark.rfc(9701, "5")
async def test_unauthenticated_caller(apis: Server) -> None:
    """In this mode; no challenge goes with it, and nothing of the token is told."""
    token = (await apis.token())["access_token"]
    ways = [{}, basic("rs-a", "wrong"), basic("nobody", "x"), {"authorization": f"Bearer {token}"}]
    for headers in ways:
        for accept, status in ((MEDIA_TYPE, 400), ("application/json", 401)):
            reply = await apis.http.post("/introspect", data={"token": token}, headers={**headers, "accept": accept})
            assert reply.status_code == status
            assert reply.json()["error"] == "invalid_client"
            assert ("www-authenticate" in reply.headers) == (status == 401)


@pytest.mark.rfc(9701, "4")
@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", f"{MEDIA_TYPE};q=0", f"{MEDIA_TYPE};q=0.1, application/*"]
)
async def test_json_on_request(apis: Server, accept: str) -> None:
    reply = await _introspect(apis, (await apis.token())["access_token"], accept=accept)
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["active"] is True


@pytest.mark.rfc(9701, "7")
async def test_metadata(apis: Server) -> None:
    """What it signs with; and nothing of encryption, which is not done."""
    document = (await apis.http.get("/.well-known/oauth-authorization-server")).json()
    assert document["introspection_signing_alg_values_supported"] == [(await apis.signing_key()).alg]
    assert not [name for name in document if name.startswith("introspection_encryption")]


@pytest.mark.rfc(9701, "8.1")
async def test_answer_is_no_access_token(apis: Server) -> None:
    """At no API, at no introspection, and as no client's assertion: one key signs them all."""
    answer = (await _introspect(apis, (await apis.token())["access_token"])).text
    guard = Guard(ISSUER, audience="rs-a", http=apis.http, clock=lambda: apis.clock.now, revocations="off")
    with pytest.raises(Rejected) as refusal:
        await guard.check([f"Bearer {answer}".encode()])
    assert refusal.value.reason is Reason.TOKEN_TYPE
    assert await _told(apis, await _introspect(apis, answer)) == {"active": False}
    assert (await apis.post(apis.form(answer))).status_code == 401


@pytest.mark.rfc(9701, "5")
async def test_answer_is_limited_to_the_api(apis: Server) -> None:
    """Of a token for two, each is told its own audience and scopes."""
    token = await access_token(apis, aud=[API, OTHER_API], scope="read other.read write")
    mine, theirs = [await _told(apis, await _introspect(apis, token, by=by), by=by) for by in ("rs-a", "rs-b")]
    assert (mine["aud"], mine["scope"]) == ([API], "read write")
    assert (theirs["aud"], theirs["scope"]) == ([OTHER_API], "other.read")
