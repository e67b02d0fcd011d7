"""Every metric of the server, the guard and the client: docs/reference/metrics.md is made from this table.

Names have the prefix ``affiant_`` and base units. Attack: a stranger makes new label values until memory is full. So
each label has a closed list of values, or values that an operator or developer has configured. No label is a client id.
"""

from __future__ import annotations

from typing import Final, Literal

from affiant.system.values import Value

Side = Literal["server", "guard", "client"]
Kind = Literal["counter", "gauge", "histogram"]

# Seconds. Requests and commits: the bounds of the counts in the store (server/request/counting/counts.py).
REQUEST_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
SIGNATURE_SECONDS: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)
FETCH_SECONDS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0)
CHECK_SECONDS: Final = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1, 1.0, 5.0)


class Metric(Value, frozen=True):
    """A metric.

    Attributes:
        name: as Prometheus shows it; that of a counter ends in ``_total``.
        labels: each with what its values are, in `LABELS`.
        buckets: of a histogram, their upper bounds in seconds.
        joined: how the values of several worker processes become one gauge: their sum, or the one that is farthest
            from 0, for what each worker sees of the same thing.
    """

    side: Side
    kind: Kind
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    joined: Literal["sum", "most"] = "sum"

    @property
    def family(self) -> str:
        """The name without the suffix of a counter."""
        return self.name.removesuffix("_total")


def _counter(side: Side, name: str, text: str, *labels: str) -> Metric:
    return Metric(side, "counter", name, text, labels)


def _gauge(side: Side, name: str, text: str, *labels: str) -> Metric:
    return Metric(side, "gauge", name, text, labels, joined="most")


def _sum(side: Side, name: str, text: str, *labels: str) -> Metric:
    return Metric(side, "gauge", name, text, labels)


def _histogram(side: Side, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(side, "histogram", name, text, labels, buckets)


_ROWS: Final = (
    _counter("server", "affiant_token_requests_total", "Decisions of the token endpoint.", "outcome", "reason", "method", "grant"),
    _counter("server", "affiant_requests_total", "Decisions of the other endpoints that authenticate or register clients.", "endpoint", "outcome", "reason"),
    _counter("server", "affiant_http_requests_total", "Requests for what the server publishes, and for the admin API and the console.", "endpoint", "code"),
    _histogram("server", "affiant_request_seconds", "Time from the headers of a request to its committed decision.", REQUEST_SECONDS, "endpoint"),
    _histogram("server", "affiant_commit_seconds", "Time that a decision waited for its commit.", REQUEST_SECONDS),
    _histogram("server", "affiant_signature_seconds", "Time to make and sign an access token.", SIGNATURE_SECONDS),
    _histogram("server", "affiant_fetch_seconds", "Time of a fetch of keys or feeds of clients and other servers.", FETCH_SECONDS, "document"),
    _counter("server", "affiant_fetch_failures_total", "Fetches that failed.", "document", "reason"),
    _sum("server", "affiant_commits_waiting", "Decisions and changes that wait for the store."),
    _gauge("server", "affiant_live_jtis", "Used jtis that the store remembers; above 50,000 an estimate."),
    _gauge("server", "affiant_store_bytes", "Size of the database."),
    _gauge("server", "affiant_audit_newest_number", "Number of the newest record of the audit log."),
    _gauge("server", "affiant_audit_oldest_timestamp_seconds", "When the oldest audit record in the database was made."),
    _gauge("server", "affiant_audit_keep_seconds", "How long audit records stay in the database (`audit_keep`); absent if for ever."),
    _gauge("server", "affiant_audit_archived_until_timestamp_seconds", "When the newest archived audit record was made; absent before the first archive."),
    _gauge("server", "affiant_audit_archive_failing", "1 if the last attempt to archive failed; absent without `audit_keep`."),
    _gauge("server", "affiant_audit_sink_lag_records", "Audit records that a sink does not have yet.", "sink"),
    _gauge("server", "affiant_audit_sink_lag_seconds", "Since the oldest audit record was made that a sink does not have yet.", "sink"),
    _gauge("server", "affiant_audit_sink_failing", "1 if the last batch could not be delivered to a sink.", "sink"),
    _gauge("server", "affiant_signing_keys", "Published keys that sign access tokens.", "signing_alg", "state"),
    _gauge("server", "affiant_signing_key_until_timestamp_seconds", "When the key that signs is followed by the next, by the calendar.", "signing_alg"),
    _gauge("server", "affiant_signing_key_due_timestamp_seconds", "When the next key must be announced; absent while one is.", "signing_alg"),
    _gauge("server", "affiant_tls_certificate_until_timestamp_seconds", "When the certificate of the server expires, if it terminates TLS itself."),
    _gauge("server", "affiant_followed_feed_age_seconds", "Seconds since the revocations of a followed server were last fetched.", "trust"),
    _gauge("server", "affiant_followed_feed_failing", "1 if the last fetch of these revocations failed.", "trust"),
    _gauge("server", "affiant_clock_offset_seconds", "The clock of this node minus that of the store."),
    _gauge("server", "affiant_background_problems", "1 if this work in the background fails.", "work"),
    _sum("server", "affiant_open_connections", "Open connections of clients."),
    _counter("server", "affiant_refused_connections_total", "Connections that were refused or closed for lack of room."),
    _sum("server", "affiant_workers", "Worker processes that report."),
    _gauge("server", "affiant_build_info", "1, labelled with the versions in use.", "version", "python"),
    _gauge("server", "process_start_time_seconds", "When the newest worker process was started."),
    _counter("server", "process_cpu_seconds_total", "Processor time of the worker processes."),
    _sum("server", "process_resident_memory_bytes", "Memory of the worker processes."),
    _sum("server", "process_open_fds", "Open files of the worker processes."),
    _sum("server", "process_max_fds", "Files that the worker processes may open."),
    _counter("guard", "affiant_guard_requests_total", "Requests that a guard has checked.", "api", "outcome", "reason"),
    _histogram("guard", "affiant_guard_check_seconds", "Time of a check, with the fetches that it waited for.", CHECK_SECONDS, "api"),
    _counter("guard", "affiant_guard_tokens_verified_total", "Requests whose token was not in the cache.", "api"),
    _counter("guard", "affiant_guard_credentials_total", "Requests with an API key or a token, to a guard that takes both.", "api", "credential", "outcome"),
    _gauge("guard", "affiant_guard_tokens_remembered", "Tokens in the cache.", "api"),
    _gauge("guard", "affiant_guard_keys", "Keys of the issuer that the guard has.", "api", "issuer"),
    _gauge("guard", "affiant_guard_keys_age_seconds", "Seconds since the keys were fetched.", "api", "issuer"),
    _gauge("guard", "affiant_guard_keys_stale", "1 if keys are used beyond their lifetime.", "api", "issuer"),
    _counter("guard", "affiant_guard_key_fetches_total", "Fetches of keys that succeeded.", "api", "issuer"),
    _counter("guard", "affiant_guard_key_failures_total", "Fetches of keys that failed.", "api", "issuer"),
    _gauge("guard", "affiant_guard_feed_age_seconds", "Seconds since the revocations were last fetched.", "api", "issuer"),
    _counter("guard", "affiant_guard_feed_failures_total", "Requests for revocations that failed.", "api", "issuer"),
    _gauge("guard", "affiant_guard_clock_offset_seconds", "The issuer's clock minus this one.", "api", "issuer"),
    _counter("client", "affiant_client_token_requests_total", "Token requests, each with its retries.", "outcome", "error"),
    _histogram("client", "affiant_client_token_seconds", "Time of a token request, with its retries.", FETCH_SECONDS),
    _counter("client", "affiant_client_api_retries_total", "Requests that were repeated because an API refused the token or proof."),
    _sum("client", "affiant_client_breakers_open", "Services that send no token request, because the server failed too often."),
    _gauge("client", "affiant_client_clock_offset_seconds", "The server's clock minus this one, as last found."),
)  # fmt: skip

METRICS: Final = {row.name: row for row in _ROWS}

LABELS: Final = {
    "outcome": "what was decided: `issued`, `refused` and the others of the audit log; at a guard `accepted`, `refused`"
    " or `unavailable` (503); at a client `renewed` or `failed`",
    "credential": "`key`, `token` or `both` (the token decided)",
    "reason": "[code of the refusal](reasons.md); empty for what was not refused",
    "method": "how the client proved itself (`token_endpoint_auth_method`); `unproved` where it did not",
    "grant": "`client_credentials`, `refresh_token`, `jwt-bearer`, `token-exchange`; `other`, or `none` without one",
    "endpoint": "name of the endpoint, as in the audit log; or the published document",
    "code": "HTTP status of the answer",
    "document": "`client_keys`, `trust_keys` or `feed`",
    "sink": "setting of an audit sink: `audit_file`, `audit_syslog` or `audit_webhook`",
    "signing_alg": "algorithm that APIs have chosen; `default` for all other APIs",
    "state": "`announced`, `active` or `retiring`",
    "trust": "name of a trust that an operator has added",
    "work": "name of the work, as in `/health`",
    "version": "of affiant",
    "python": "version of Python",
    "api": "audience of the guard",
    "issuer": "issuer that the guard was made with",
    "error": "OAuth error of the answer, or `unreachable`, `other`; empty for a token that came",
}
