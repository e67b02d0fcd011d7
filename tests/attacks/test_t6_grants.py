"""T6: what an authenticated client asks for. It may ask once with each assertion, whatever the answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.attacks.bench import API, OTHER, OTHER_API, Request, assertion, form, post, row

from affiant.reasons import Reason

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


@pytest.mark.attack(154)
@pytest.mark.attack(158)
async def test_answer(bench: Bench) -> None:
    """Without scope, all that the client has; no refresh token, unless it was registered for them."""
    members = await bench.issued(post())
    assert set(members) == {"access_token", "token_type", "expires_in", "scope"}
    assert (members["scope"], type(members["expires_in"])) == ("r", int)
    members = await bench.issued(post(form(assertion(iss="refreshing", sub="refreshing"))), client_id="refreshing")
    assert len(members["refresh_token"]) == 43
