import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.resource.issuer import NOW, Check, Issuer, check_in_loop
from tests.unit.resource.listening import ListeningIssuer, listening, until

from affiant.errors import Rejected, RemoteError
from affiant.resource import Guard
from affiant.resource.diagnosis.metrics import render

PROMTOOL = shutil.which("promtool")


@pytest.fixture
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as found:
        yield found


async def _try(check: Check, guard: Guard, *authorization: bytes, **options: Any) -> None:
    with contextlib.suppress(Rejected, RemoteError):
        await check(guard, authorization, **options)


async def test_requests_are_counted_by_outcome(check: Check) -> None:
    issuer = Issuer()
    guard, token = issuer.guard(), issuer.token(scope="a")
    assert guard.metrics().requests == {"accepted": 0}
    for _ in range(3):
        await _try(check, guard, token)
    await _try(check, guard, token, need="b")
    await _try(check, guard, issuer.token(exp=NOW - 60))
    await _try(check, guard, issuer.token(exp=NOW - 61))
    await _try(check, guard)
    found = guard.metrics()
    assert found.requests == {"accepted": 3, "token.expired": 2, "token.insufficient_scope": 1, "token.missing": 1}
    assert (found.verified, found.remembered) == (4, 3)  # the first one twice: the keys were not known yet


async def test_whole_requests_are_counted_once() -> None:
    issuer = Issuer()
    guard, token = issuer.guard(), issuer.token()
    for query in (b"", b"access_token=x"):
        headers = [(b"authorization", token)]
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": query, "headers": headers}
        await guard.check_scope(scope)
        await asyncio.to_thread(guard.check_scope_sync, scope)
    assert guard.metrics().requests == {"accepted": 2, "token.request": 2}


async def test_what_cannot_be_checked_is_counted(check: Check, issuer: ListeningIssuer) -> None:
    issuer.statuses["/jwks"] = 500
    guard = issuer.guard()
    await _try(check, guard, issuer.token())
    found = guard.metrics()
    assert found.requests == {"accepted": 0, "unavailable": 1}
    assert (found.issuers[0].keys, found.issuers[0].keys_age, found.issuers[0].key_failures) == (0, None, 1)


def test_age_of_the_keys(issuer: ListeningIssuer) -> None:
    guard, token = issuer.guard(), issuer.token()
    guard.check_sync([token])
    issuer.now += 100
    (found,) = guard.metrics().issuers
    assert (found.issuer, found.keys, found.keys_age, found.keys_stale) == (issuer.url, 1, 100.0, False)
    assert (found.key_fetches, found.key_failures, found.clock_offset) == (1, 0, 0.0)
    assert (found.feed_age, found.feed_failures) == (None, 0)
    issuer.statuses["/jwks"] = 500
    issuer.now += 300
    guard.check_sync([token])  # by the keys that are known
    (found,) = guard.metrics().issuers
    assert (found.keys_age, found.keys_stale, found.key_failures) == (400.0, True, 1)


def test_feed_that_fails_is_seen(issuer: ListeningIssuer) -> None:
    issuer.metadata["revocations_uri"] = f"{issuer.url}/revocations"
    guard = issuer.guard(revocations="optional")
    guard.check_sync([issuer.token()])
    until(lambda: guard.metrics().issuers[0].feed_failures > 0)
    assert guard.metrics().issuers[0].feed_age is None


def test_text_is_that_of_prometheus(issuer: ListeningIssuer) -> None:
    guards = [issuer.guard(), Guard(issuer.url, audience='a "b" \\ c\n', revocations="off")]
    guards[0].check_sync([issuer.token()])
    text = render(guard.metrics() for guard in guards)
    assert 'affiant_guard_requests_total{api="https://api.example",outcome="accepted",reason=""} 1.0\n' in text
    assert 'affiant_guard_requests_total{api="a \\"b\\" \\\\ c\\n",outcome="accepted",reason=""} 0.0\n' in text
    assert f'affiant_guard_keys_age_seconds{{api="https://api.example",issuer="{issuer.url}"}} 0.0\n' in text
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))  # a family appears once on a page
    assert guards[0].metrics().text().count("# TYPE") == len(names)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: apt-get install prometheus")
def test_prometheus_takes_the_text(issuer: ListeningIssuer) -> None:
    guard = issuer.guard()
    guard.check_sync([issuer.token()])
    assert PROMTOOL is not None
    subprocess.run([PROMTOOL, "check", "metrics"], input=guard.metrics().text().encode(), check=True, timeout=30)


async def test_guard_that_is_replaced_counts_on_its_own() -> None:
    issuer = Issuer()
    one, other = issuer.guard(), issuer.guard()
    await _try(check_in_loop, one, issuer.token())
    assert (one.metrics().requests, other.metrics().requests) == ({"accepted": 1}, {"accepted": 0})
