"""T6: what an authenticated client asks for. It may ask once with each assertion, whatever the answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.attacks.bench import API, ISSUER, OTHER, OTHER_API, STRANGER, Request, assertion, form, post, row
from tests.attacks.conftest import running

from affiant.jose import compact
from affiant.reasons import Reason
from affiant.server.request.identifiers import new_token_id
from affiant.server.request.limits import Rates
from affiant.storage.memory import MemoryStore

if TYPE_CHECKING:
    from tests.attacks.bench import Bench

pytestmark = pytest.mark.anyio
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        row(151, "scope", post(form(scope="r admin")), Reason.SCOPE_NOT_ALLOWED),
        row(153, "4 KB", post(form(scope="r" * 4096)), Reason.SCOPE_MALFORMED),
        row(153, "2,000 names", post(form(scope=" ".join(f"s{i}" for i in range(2000)))), Reason.SCOPE_MALFORMED),
        row(155, "relative", post(form(resource="/a")), Reason.RESOURCE_MALFORMED),
        row(155, "fragment", post(form(resource=f"{API}#f")), Reason.RESOURCE_MALFORMED),
        row(155, "unknown", post(form(resource="https://unknown.example")), Reason.RESOURCE_NOT_ALLOWED),
        row(155, "not allowed", post(form(resource=OTHER_API)), Reason.RESOURCE_NOT_ALLOWED),
        row(157, "grant", post(form(grant_type="refresh_token")), Reason.GRANT_NOT_ALLOWED),
    ],
)
async def test_refused(bench: Bench, what: Request, reason: Reason) -> None:
    await bench.refused(what, reason, uses_up=True)


@pytest.mark.attack(157)
async def test_client_without_the_grant(bench: Bench) -> None:
    await bench.store.clients.update("c2", lambda client: replace(client, grant_types=("refresh_token",)))
    what = post(form(assertion(OTHER, iss="c2", sub="c2")))
    await bench.refused(what, Reason.GRANT_NOT_ALLOWED, claimed="c2", jti=None)
    assert await bench.used_up("j", "c2")


@pytest.mark.parametrize("grant_type", [row(160, name[-14:], name) for name in (EXCHANGE, "password")])
async def test_grant_that_is_not_here(bench: Bench, grant_type: str) -> None:
    await bench.refused(post(form(grant_type=grant_type)), Reason.GRANT_UNSUPPORTED)


@pytest.mark.attack(159)
async def test_tokens_are_distinct(bench: Bench) -> None:
    """A thousand through the whole server, and a hundred thousand names of tokens: none twice; each says what it must."""
    published = {key["kid"]: key for key in (await bench.send(Request(method="GET", path="/jwks"))).json()["keys"]}
    seen = set()
    for _ in range(1000):
        reply = await bench.send(post(form(bench.fresh())))
        token = compact.parse(reply.json()["access_token"])
        assert (token.header["typ"], published[str(token.kid)]["alg"]) == ("at+jwt", token.alg)
        said = {name: token.claims[name] for name in ("iss", "aud", "sub", "client_id")}
        assert said == {"iss": ISSUER, "aud": API, "sub": "c1", "client_id": "c1"}
        assert type(token.claims["iat"]) is type(token.claims["exp"]) is int
        seen.add(token.claims["jti"])
    assert len(seen) == 1000
    assert len({new_token_id() for _ in range(100_000)}) == 100_000


@pytest.mark.attack(162)
async def test_stranger_locks_nobody_out(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand bad assertions in the name of c1 from many addresses, with the limits on: c1 itself is served."""
    async with running(MemoryStore(), caplog, monkeypatch, Rates()) as bench:
        statuses = set()
        for number in range(1000):
            what = replace(post(form(assertion(STRANGER, jti=f"s{number}"))), address=f"203.0.113.{number % 250}")
            statuses.add((await bench.send(what)).status)
            if number % 100 == 0:
                assert (await bench.send(post(form(bench.fresh())))).status == 200
        assert statuses == {401, 429}
        assert (await bench.send(post(form(bench.fresh())))).status == 200


@pytest.mark.attack(154)
@pytest.mark.attack(158)
async def test_answer(bench: Bench) -> None:
    """Without scope, all that the client has; no refresh token, unless it was registered for them."""
    members = await bench.issued(post())
    assert set(members) == {"access_token", "token_type", "expires_in", "scope"}
    assert (members["scope"], type(members["expires_in"])) == ("r", int)
    members = await bench.issued(post(form(assertion(iss="refreshing", sub="refreshing"))), client_id="refreshing")
    assert len(members["refresh_token"]) == 43
