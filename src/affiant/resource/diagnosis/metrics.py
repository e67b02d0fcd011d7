"""The metrics of guards, as numbers and in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from affiant.resource.diagnosis.counts import Counts
from affiant.resource.issuer.trust import Trusted

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Row = tuple[dict[str, str], float | None]  # labels and value; None is left out


@dataclass(frozen=True, slots=True)
class IssuerMetrics:
    """The state of one issuer in a guard. Ages are in seconds; None means that nothing was fetched yet.

    Attributes:
        issuer: its identifier.
        keys: number of keys.
        keys_age: since they were fetched.
        keys_stale: they are used beyond their lifetime, since the issuer is unreachable or slow.
        key_fetches: fetches of keys that succeeded.
        key_failures: fetches of keys that failed.
        feed_age: since the feed of revocations was heard of.
        feed_failures: requests for the feed that failed.
        clock_offset: by how many seconds the issuer's clock is ahead of this one, by the Date of its responses.
    """

    issuer: str
    keys: int
    keys_age: float | None
    keys_stale: bool
    key_fetches: int
    key_failures: int
    feed_age: float | None
    feed_failures: int
    clock_offset: float | None


@dataclass(frozen=True, slots=True)
class Metrics:
    """The counters of a guard in this process, and the state of its issuers.

    Attributes:
        api: the audience.
        requests: by outcome: ``accepted``, the code of a reason such as ``token.expired``, or ``unavailable`` (503).
        verified: requests whose token the guard had not seen before; all others were cache hits.
        remembered: tokens in the cache.
        issuers: one for each issuer.
    """

    api: str
    requests: dict[str, int]
    verified: int
    remembered: int
    issuers: tuple[IssuerMetrics, ...]

    def text(self) -> str:
        """Return them in the text format of Prometheus, whose type is `CONTENT_TYPE`."""
        return render([self])


def measure(api: str, counts: Counts, remembered: int, trusted: Iterable[Trusted]) -> Metrics:
    requests = {"accepted": counts.accepted, **dict(sorted(counts.refused.items()))}
    return Metrics(api, requests, counts.unknown, remembered, tuple(map(_measure_issuer, trusted)))


def _measure_issuer(trusted: Trusted) -> IssuerMetrics:
    keys, feed = trusted.keys.state(), trusted.revocations.state()
    return IssuerMetrics(
        issuer=trusted.remote.identifier,
        keys=keys.keys,
        keys_age=keys.age_seconds,
        keys_stale=keys.is_stale,
        key_fetches=keys.fetches,
        key_failures=keys.failures,
        feed_age=feed.age_seconds if feed is not None else None,
        feed_failures=feed.failures if feed is not None else 0,
        clock_offset=trusted.remote.clocks.offset_seconds,
    )


def render(found: Iterable[Metrics]) -> str:
    """Return the metrics of several guards of this process as one page."""
    guards = list(found)
    families: tuple[tuple[str, str, str, Iterable[Row]], ...] = (
        ("requests_total", "counter", "Requests by outcome.", _requests(guards)),
        ("tokens_verified_total", "counter", "Requests whose token was not in the cache.", _verified(guards)),
        ("tokens_remembered", "gauge", "Tokens in the cache.", _remembered(guards)),
        ("keys", "gauge", "Keys of the issuer that are known.", _of_issuers(guards, "keys")),
        ("keys_age_seconds", "gauge", "Since the keys were fetched.", _of_issuers(guards, "keys_age")),
        ("keys_stale", "gauge", "1 if keys are used beyond their lifetime.", _of_issuers(guards, "keys_stale")),
        ("key_fetches_total", "counter", "Fetches of keys that succeeded.", _of_issuers(guards, "key_fetches")),
        ("key_failures_total", "counter", "Fetches of keys that failed.", _of_issuers(guards, "key_failures")),
        ("feed_age_seconds", "gauge", "Since the revocations were heard of.", _of_issuers(guards, "feed_age")),
        (
            "feed_failures_total",
            "counter",
            "Requests for revocations that failed.",
            _of_issuers(guards, "feed_failures"),
        ),
        ("clock_offset_seconds", "gauge", "The issuer's clock minus this one.", _of_issuers(guards, "clock_offset")),
    )
    return "".join(line for family in families for line in _family(*family))


def _requests(guards: Iterable[Metrics]) -> Iterator[Row]:
    for guard in guards:
        yield from (({"api": guard.api, "outcome": outcome}, n) for outcome, n in guard.requests.items())


def _verified(guards: Iterable[Metrics]) -> Iterator[Row]:
    return (({"api": guard.api}, guard.verified) for guard in guards)


def _remembered(guards: Iterable[Metrics]) -> Iterator[Row]:
    return (({"api": guard.api}, guard.remembered) for guard in guards)


def _of_issuers(guards: Iterable[Metrics], attribute: str) -> Iterator[Row]:
    for guard in guards:
        for one in guard.issuers:
            yield {"api": guard.api, "issuer": one.issuer}, getattr(one, attribute)


def _family(name: str, kind: str, meaning: str, rows: Iterable[Row]) -> Iterator[str]:
    samples = [(labels, value) for labels, value in rows if value is not None]
    if samples:
        yield f"# HELP affiant_guard_{name} {meaning}\n# TYPE affiant_guard_{name} {kind}\n"
    for labels, value in samples:
        shown = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
        yield f"affiant_guard_{name}{{{shown}}} {round(float(value), 3):.15g}\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
