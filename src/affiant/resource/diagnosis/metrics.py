"""The metrics of guards, as numbers and in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from affiant.resource.diagnosis.counts import ACCEPTED, REFUSED, UNAVAILABLE, Counts
from affiant.resource.issuer.trust import Trusted
from affiant.telemetry.exposition import render_samples
from affiant.telemetry.samples import Samples, merge

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_OF_ISSUERS = {
    "affiant_guard_keys": "keys",
    "affiant_guard_keys_age_seconds": "keys_age",
    "affiant_guard_keys_stale": "keys_stale",
    "affiant_guard_key_fetches_total": "key_fetches",
    "affiant_guard_key_failures_total": "key_failures",
    "affiant_guard_feed_age_seconds": "feed_age",
    "affiant_guard_feed_failures_total": "feed_failures",
    "affiant_guard_clock_offset_seconds": "clock_offset",
}


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
        feed_age: seconds since the revocations were last fetched.
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
        credentials: of a guard with API keys: requests by what they have (``key``, ``token``, ``both``) and outcome.
    """

    api: str
    requests: dict[str, int]
    verified: int
    remembered: int
    issuers: tuple[IssuerMetrics, ...]
    credentials: dict[tuple[str, str], int] = field(default_factory=dict)

    def text(self) -> str:
        """Return them in the text format of Prometheus, whose type is `CONTENT_TYPE`.

        Raises:
            ConfigError: prometheus-client is not installed: it comes with ``affiant[metrics]``.
        """
        return render([self])


def measure(api: str, counts: Counts, remembered: int, trusted: Iterable[Trusted]) -> Metrics:
    requests = {ACCEPTED: counts.accepted, **dict(sorted(counts.refused.items()))}
    issuers = tuple(map(_measure_issuer, trusted))
    return Metrics(api, requests, counts.unknown, remembered, issuers, dict(counts.credentials))


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
    """Return the metrics of several guards of this process as one page.

    Raises:
        ConfigError: prometheus-client is not installed.
    """
    return render_samples(merge(map(samples, found))).text.decode()


def samples(found: Metrics) -> Samples:
    """Return the numbers by the names of the table."""
    own: Samples = {
        "affiant_guard_requests_total": {(found.api, *_outcome(name)): n for name, n in found.requests.items()},
        "affiant_guard_tokens_verified_total": {(found.api,): found.verified},
        "affiant_guard_tokens_remembered": {(found.api,): found.remembered},
        "affiant_guard_credentials_total": {(found.api, *shown): n for shown, n in found.credentials.items()},
    }
    for name, attribute in _OF_ISSUERS.items():
        known = ((one.issuer, getattr(one, attribute)) for one in found.issuers)
        own[name] = {(found.api, issuer): float(value) for issuer, value in known if value is not None}
    return own


def _outcome(name: str) -> tuple[str, str]:
    """Return the outcome and the reason of a key of `Metrics.requests`."""
    return (name, "") if name in (ACCEPTED, UNAVAILABLE) else (REFUSED, name)
