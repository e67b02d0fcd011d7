"""Explain a captured exchange: what it would give, and each layer's limit; nothing is issued or used up."""

import json
import shlex
from urllib.parse import parse_qsl, urlencode

from tests.unit.server.explain.conftest import API, Place

from affiant import testing
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.oauth import names
from affiant.storage.records import ClaimCondition, Rule, Trust
from affiant.testing import ISSUER, NOW

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


async def test_the_token_of_a_platform_that_no_rule_fits(place: Place) -> None:
    """The rule that came nearest, and the command that mends it: before, and from the record of the request."""
    await _token(place)
    key = keys.generate("ES256")
    jwks = json.dumps({"keys": [key.public().to_jwk()]})
    await place.store.trusts.add(Trust("ci", "https://ci.example", jwks=jwks))
    await place.store.rules.add(Rule("job", "ci", WORKER, (ClaimCondition("repository_id", ("42",)),)))
    claims = {"iss": "https://ci.example", "sub": "job", "aud": ISSUER, "repository_id": "43", "jti": "j"}
    text = compact.sign({}, {**claims, "iat": NOW, "exp": NOW + 300}, key)
    form = _form(place, text, subject_token_type=names.JWT_TOKEN_TYPE)
    found = await place.explain(form)
    reply = await place.server.post(dict(parse_qsl(form)))
    record = await place.store.audit_log.find(reply.json()["trace_id"])
    assert record is not None
    later = await place.explainer.explain_record(record)
    for one, line in (
        (found, "generic --from-token TOKEN_FILE"),
        (later, f"--from-refused {reply.json()['trace_id']}"),
    ):
        assert one.reason is Reason.EXCHANGE_SUBJECT
        assert one.client_id == WORKER
        assert one.fix is not None
        assert one.fix.line == f"affiant trust add {line}"  # and no change of the rule: it may be another repository
        assert [other.reason for other in one.also] == [Reason.RULE_NONE]
        assert (one.trust, one.rules[0].rule) == ("ci", "job")


async def test_long_claims_push_no_condition_out_of_the_proposed_rule(place: Place) -> None:
    """The record has no room for all conditions; the command that mends the rule has each of them all the same."""
    key, refs = keys.generate("ES256"), tuple(f"refs/heads/{number}{'x' * 200}" for number in range(6))
    jwks = json.dumps({"keys": [key.public().to_jwk()]})
    notes = {f"note{number}": str(number) * 120 for number in range(4)}
    wanted = (
        *(ClaimCondition(name, (value,)) for name, value in notes.items()),
        ClaimCondition("ref", refs),
        ClaimCondition("owner_id", ("42",)),
        ClaimCondition("stage", ("test",)),
    )
    await place.store.trusts.add(Trust("ci", "https://ci.example", jwks=jwks))
    await place.store.rules.add(Rule("job", "ci", WORKER, wanted))
    claims = {"iss": "https://ci.example", "sub": "job", "aud": ISSUER, "owner_id": "42", "ref": refs[5], **notes}
    text = compact.sign({}, {**claims, "stage": "live", "jti": "j", "iat": NOW, "exp": NOW + 300}, key)
    reply = await place.server.post(testing.form(text))
    record = await place.store.audit_log.find(reply.json()["trace_id"])
    assert record is not None
    assert "owner_id" not in record["nearest"]
    found = await place.explainer.explain_record(record)
    assert found.fix is not None
    pairs = shlex.split(found.fix.line)[5::2]
    assert pairs == [*(f"{claim}={value}" for claim, values in wanted for value in values), "stage=live"]
