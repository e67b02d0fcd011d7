"""The log says how far the clocks of the issuer and the API differ."""

import logging
from collections.abc import Iterator
from email.utils import formatdate

import pytest
from tests.unit.resource.issuer import NOW
from tests.unit.resource.listening import ListeningIssuer, listening

from affiant.resource.issuer.clocks import Clocks

HERE = "affiant.resource.issuer.clocks"


@pytest.fixture
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as found:
        yield found


@pytest.mark.parametrize(("seconds", "words"), [(-60, "60 s behind"), (60, "60 s ahead of"), (9, None), (-9, None)])
def test_difference_is_told_once(
    issuer: ListeningIssuer, caplog: pytest.LogCaptureFixture, seconds: int, words: str | None
) -> None:
    guard = issuer.guard(clock=lambda: issuer.now + seconds, leeway=300)
    guard.check_sync([issuer.token()])  # two responses: metadata and keys
    warned = [record.getMessage() for record in caplog.records if record.name == HERE]
    expected = (
        f"this clock is {words} that of {issuer.url}, by the Date of its response: set it, or good tokens are refused"
    )
    assert warned == ([expected] if words else [])
    assert guard.metrics().issuers[0].clock_offset == -seconds


def test_difference_that_comes_again_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    now = [float(NOW)]
    clocks = Clocks("https://as.example", lambda: now[0])
    for offset in (60, 60, 0, 60):
        clocks.note(formatdate(NOW + offset, usegmt=True), "")
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_cached_response_is_older() -> None:
    clocks = Clocks("https://as.example", lambda: float(NOW))
    clocks.note(formatdate(NOW - 500, usegmt=True), "480")
    assert clocks.offset_seconds == -20


@pytest.mark.parametrize(
    ("served", "offset"),
    [(-25, 0), (-12, 0), (0, 0), (-40, -15), (40, 40)],
)
def test_wait_for_the_response_is_no_difference(served: int, offset: float) -> None:
    """The feed of revocations answers late, with the Date of the request or that of the answer."""
    clocks = Clocks("https://as.example", lambda: float(NOW))
    clocks.note(formatdate(NOW + served, usegmt=True), "", NOW - 25.0)
    assert clocks.offset_seconds == offset


@pytest.mark.parametrize(
    "date",
    ["", "now", "Thu", "Sun, 99 Nov 2026 25:00:00 GMT", "Sun, 29 Nov 2026 08:00:00 -0000", "0" * 5000, "\x00", ",,"],
)
def test_nonsense_says_nothing(date: str, caplog: pytest.LogCaptureFixture) -> None:
    clocks = Clocks("https://as.example", lambda: float(NOW))
    clocks.note(date, "x")
    assert (clocks.offset_seconds, caplog.records) == (None, [])


@pytest.mark.parametrize("age", ["-5", "x", "9" * 50, "٣", "1.5"])
def test_nonsense_as_age_is_ignored(age: str) -> None:
    clocks = Clocks("https://as.example", lambda: float(NOW))
    clocks.note(formatdate(NOW, usegmt=True), age)
    assert clocks.offset_seconds == 0
