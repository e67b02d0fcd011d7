"""Token budgets: a client goes on beyond its own by whichever grant, and a stranger tries to use up that of another."""

from typing import Any

import pytest
from tests.attacks.bench import API, Bench, assertion, form, post
from tests.attacks.federating import subject
from tests.wire import Request

from affiant.errors.reasons import Reason
from affiant.oauth import names

GRANTS = (names.CLIENT_CREDENTIALS, names.REFRESH_TOKEN, names.JWT_BEARER, names.TOKEN_EXCHANGE)
LIMIT = {"token_budget": 2, "budget": "enforce"}


async def _ready(bench: Bench, grant: str, **changes: Any) -> dict[str, str]:
    """Return the parameters of a request of c1 by this grant."""
    more: dict[str, str] = {"grant_type": grant}
    if grant == names.TOKEN_EXCHANGE:
        more |= {"subject_token": await subject(bench, "c2"), "subject_token_type": names.ACCESS_TOKEN_TOKEN_TYPE}
    await bench.change_client("c1", grant_types=GRANTS)
    if grant == names.REFRESH_TOKEN:
        more["refresh_token"] = (await bench.good(bench.signed()))["refresh_token"]
    await bench.change_client("c1", **changes)
    return more


def _asking(bench: Bench, more: dict[str, str]) -> Request:
    if more["grant_type"] == names.JWT_BEARER:
        return post({**more, "assertion": bench.assertion("c1")})
    return bench.signed("c1", **more)


@pytest.mark.parametrize("grant", GRANTS)
async def test_no_grant_goes_beyond_the_budget(bench: Bench, grant: str) -> None:
    more = await _ready(bench, grant, **LIMIT)
    for _ in range(2):
        more["refresh_token"] = (await bench.good(_asking(bench, more))).get("refresh_token", "")
        more = {name: value for name, value in more.items() if value}
    reply, record = await bench.denied(_asking(bench, more), Reason.LIMIT_BUDGET)
    left = 3600 - int(bench.clock.now) % 3600
    assert (reply.status, reply.headers["retry-after"]) == (429, str(left + 1))
    assert (record["client_id"], record["expected"]) == ("c1", "at most 2 tokens per hour")
    bench.clock.now += left
    await bench.good(bench.signed())


@pytest.mark.parametrize("grant", GRANTS)
async def test_an_observed_budget_only_shows(bench: Bench, grant: str) -> None:
    more = await _ready(bench, grant, token_budget=1)
    for observed in (None, "limit.budget"):
        more["refresh_token"] = (await bench.good(_asking(bench, more))).get("refresh_token", "")
        more = {name: value for name, value in more.items() if value}
        assert (await bench.last()).get("observed") == observed


async def test_a_refused_request_uses_its_jti_up(bench: Bench) -> None:
    await bench.change_client("c1", **LIMIT)
    for _ in range(2):
        await bench.good(bench.signed())
    await bench.denied(post(form(assertion(jti="late"))), Reason.LIMIT_BUDGET)
    assert await bench.used_up("late")


async def test_replays_do_not_use_up_the_budget(bench: Bench) -> None:
    """Attack: who saw one request repeats it, and the client gets no more tokens."""
    await bench.change_client("c1", **LIMIT)
    seen = bench.signed()
    await bench.good(seen)
    for _ in range(5):
        await bench.denied(seen, Reason.REPLAYED)
    await bench.good(bench.signed())
    await bench.denied(bench.signed(), Reason.LIMIT_BUDGET)
    await bench.denied(seen, Reason.REPLAYED)


async def test_each_client_has_its_own(bench: Bench) -> None:
    await bench.change_client("c1", **LIMIT)
    await bench.change_client("c2", **LIMIT, resources=(API,))
    for client_id in ("c1", "c2"):
        for _ in range(2):
            await bench.good(bench.signed(client_id))
        await bench.denied(bench.signed(client_id), Reason.LIMIT_BUDGET)
