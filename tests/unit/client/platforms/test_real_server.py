"""The token of every platform, sent by the SDK to the server itself: both carriers, and what is kept and renewed."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.platforms.issuer import signed
from tests.platforms.trap import Good
from tests.platforms.traps import GOOD
from tests.unit.server.federation.registering import CARRIERS, trusting

from affiant import Service
from affiant.errors import Refused
from affiant.testing import Server


@pytest.fixture
async def trusted() -> AsyncIterator[Server]:
    async with trusting(*GOOD.values()) as made:
        yield made


def _service(server: Server, good: Good, carrier: str) -> Service:
    http = server.blocking_http()
    return Service.from_platform("env:JOB_TOKEN", server.issuer, audience=good.audience, carrier=carrier, http=http)


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("platform", GOOD)
async def test_token_of_the_platform_becomes_an_access_token(
    platform: str, carrier: str, trusted: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = GOOD[platform]
    monkeypatch.setenv("JOB_TOKEN", signed(good.token))
    service = _service(trusted, good, carrier)
    first, second = await asyncio.gather(service.atoken(), service.atoken())
    assert first.value == second.value
    assert first.scope == "orders.read orders.write"


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("platform", ["github", "kubernetes"])
async def test_second_service_of_one_job_is_a_replay_where_the_trust_says_so(
    platform: str, carrier: str, trusted: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = GOOD[platform]
    monkeypatch.setenv("JOB_TOKEN", signed(good.token))
    first = await _service(trusted, good, carrier).atoken()
    again = _service(trusted, good, carrier)
    if good.replay == "once":
        with pytest.raises(Refused, match="was used before"):
            await again.atoken()
    else:
        assert (await again.atoken()).value != first.value
