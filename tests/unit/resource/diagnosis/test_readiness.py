import json
from collections.abc import Iterator

import pytest
from tests.unit.resource.listening import API, ListeningIssuer, listening, until

from affiant.resource import Guard, Issuer
from affiant.resource.issuer.keys import STALE_SECONDS


@pytest.fixture
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as found:
        yield found


def test_probes_alone_make_a_guard_ready(issuer: ListeningIssuer) -> None:
    guard = issuer.guard()
    first = guard.readiness()
    why = f"the keys of {issuer.url} are not known: they are being fetched"
    assert (first.status, first.is_ready, first.why) == (503, False, (why,))
    assert json.loads(first.body) == {"status": "failing", "why": [why]}
    until(lambda: guard.readiness().is_ready)
    assert (guard.readiness().status, json.loads(guard.readiness().body)) == (200, {"status": "ok"})
    assert guard.readiness().headers == {"Content-Type": "application/json", "Cache-Control": "no-store"}
    assert issuer.count("/jwks") == 1


def test_guard_without_keys_is_not_ready(issuer: ListeningIssuer) -> None:
    issuer.statuses["/jwks"] = 500
    guard = issuer.guard()
    guard.readiness()
    until(lambda: "answered 500" in guard.readiness().why[0])
    assert guard.readiness().status == 503
    del issuer.statuses["/jwks"]
    until(lambda: guard.readiness().is_ready)


def test_guard_is_ready_as_long_as_its_keys_can_be_used(issuer: ListeningIssuer) -> None:
    guard = issuer.guard()
    guard.check_sync([issuer.token()])
    issuer.statuses["/jwks"] = 500
    for seconds, status in ((301, 200), (STALE_SECONDS - 302, 200), (2, 503)):
        issuer.now += seconds
        assert guard.readiness().status == status


def test_required_revocations_must_be_known(issuer: ListeningIssuer) -> None:
    guard = issuer.guard(revocations="required")  # the issuer has no feed
    guard.readiness()
    until(lambda: guard.readiness().why == (f"the revocations of {issuer.url} are not known",))


def test_one_of_several_issuers_is_enough(issuer: ListeningIssuer) -> None:
    """A guard that is taken out of service serves the callers of no issuer."""
    with listening() as other:
        other.statuses["/jwks"] = 500
        guard = Guard([issuer.url, other.url], audience=API, clock=lambda: issuer.now)
        guard.readiness()
        until(lambda: "answered 500" in "".join(guard.readiness().why) and guard.readiness().is_ready)
        found = guard.readiness()
        assert (found.status, json.loads(found.body)["status"]) == (200, "ok")
        assert [one.keys for one in guard.metrics().issuers] == [1, 0]


def test_given_keys_are_known(issuer: ListeningIssuer) -> None:
    keys = {"keys": [key.public().to_jwk() for key in issuer.keys]}
    guard = Guard(Issuer(issuer.url, jwks=keys), audience=API)
    assert guard.readiness().is_ready
    assert guard.is_ready()
    assert (guard.metrics().issuers[0].keys, guard.metrics().issuers[0].keys_age) == (1, None)
    assert issuer.requests == []
