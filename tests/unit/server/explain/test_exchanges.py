"""A refused token exchange: the change that helps, in the request or by the operator."""

from typing import Any
from urllib.parse import urlencode

import pytest
from tests.unit.server.explain.conftest import API, Place

from affiant.errors.reasons import Reason
from affiant.oauth import names

NEXT = "https://next.example"
GRANTS = (names.CLIENT_CREDENTIALS, names.TOKEN_EXCHANGE)


@pytest.fixture
async def chain(place: Place) -> Place:
    """Two APIs; the client `api` speaks for the first, and `idle` for none."""
    await place.server.add_api(NEXT, name="next", scope=("r",))
    await place.server.add_client("shop", resources=(API, NEXT), delegates_to=("other",))
    await place.server.add_client("open", resources=(API, NEXT))
    await place.server.add_client("api", resources=(NEXT,), introspects=(API,), grant_types=GRANTS)
    await place.server.add_client("idle", resources=(NEXT,), introspects=(NEXT,), grant_types=GRANTS)
    return place


async def _explain(place: Place, subject: str, *, by: str = "api", **changes: str) -> Any:
    form = place.server.form(
        place.server.assertion(by), grant_type=names.TOKEN_EXCHANGE, resource=NEXT,
        subject_token=place.token(sub=subject, client_id=subject), subject_token_type=names.ACCESS_TOKEN_TOKEN_TYPE,
    )  # fmt: skip
    return await place.explain(urlencode({**form, **changes}))


async def test_an_exchange_that_is_granted(chain: Place) -> None:
    assert (await _explain(chain, "open")).accepted


async def test_who_may_act_is_for_the_operator(chain: Place) -> None:
    found = await _explain(chain, "shop")
    assert found.reason is Reason.EXCHANGE_NOT_DELEGABLE
    assert found.fix.line == "affiant client update shop --delegates-to other --delegates-to api"


async def test_an_api_that_the_client_does_not_speak_for(chain: Place) -> None:
    found = await _explain(chain, "open", by="idle")
    assert found.reason is Reason.EXCHANGE_AUDIENCE
    assert found.remedy.line == f"affiant client update idle --introspect {NEXT} --introspect {API}"


async def test_types_and_actors(chain: Place) -> None:
    found = await _explain(chain, "open", subject_token_type="access_token")
    assert found.fix.line.startswith('form["subject_token_type"] = "urn:ietf:params:oauth:token-type:access_token"')
    found = await _explain(chain, "open", actor_token="x", actor_token_type=names.ACCESS_TOKEN_TOKEN_TYPE)
    assert found.fix.line == 'form.pop("actor_token", None); form.pop("actor_token_type", None)'
