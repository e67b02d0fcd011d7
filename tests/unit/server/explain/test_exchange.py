"""What an exchange would give, by each layer, from its captured form; nothing is issued or used up."""

from urllib.parse import urlencode

from tests.unit.server.explain.conftest import API, Place

from affiant import testing
from affiant.oauth import names
from affiant.reasons import Reason

WORKER = "worker"


def _form(place: Place, subject: str, **more: str) -> str:
    exchange = {
        "grant_type": names.TOKEN_EXCHANGE,
        "subject_token": subject,
        "subject_token_type": names.ACCESS_TOKEN_TOKEN_TYPE,
    }
    return urlencode({**testing.form(place.server.assertion(WORKER)), **exchange, **more})


async def _token(place: Place) -> str:
    await place.server.add_client(WORKER, grant_types=(names.CLIENT_CREDENTIALS, names.TOKEN_EXCHANGE))
    reply = await place.server.post(testing.form(place.server.assertion(WORKER)))
    return str(reply.json()["access_token"])


async def test_the_limits_of_each_layer(place: Place) -> None:
    subject = await _token(place)
    found = await place.explain(_form(place, subject, task="job-7", expires_in="120"))
    assert found.granted is not None, found
    assert (found.granted.scope, found.granted.resource, found.granted.lifetime) == (("r",), (API,), 120)
    limits = {limit.layer: limit.lifetime for limit in found.granted.limits}
    assert limits["the request"] == 120
    assert any("subject" in layer and lifetime == 600 for layer, lifetime in limits.items()), limits
    assert (await place.explain(_form(place, subject))).accepted


async def test_an_exchange_that_would_be_refused(place: Place) -> None:
    await _token(place)
    found = await place.explain(_form(place, place.token(aud="https://other.example", client_id="c9", sub="c9")))
    assert found.reason in (Reason.EXCHANGE_AUDIENCE, Reason.EXCHANGE_SUBJECT)
    assert found.granted is None
    assert found.fix is not None
    assert found.fix.line
