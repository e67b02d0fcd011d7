"""botocore and boto3: event handlers of a client whose service takes bearer tokens."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from affiant.client.http.exchange import Access, Exchange, is_whole


class _Sent(NamedTuple):
    exchange: Exchange
    url: str
    headers: dict[str, str]
    is_whole: bool


class _Current(threading.local):
    """botocore sends a request, and judges its response, in one thread."""

    sent: _Sent | None = None
    repeated: Exchange | None = None


def add_token(client: Any, access: Access) -> Any:
    """Add the token to each request of this client, and return the client."""
    current = _Current()

    # Order: botocore logs the headers of a request at DEBUG before this event.
    def authorize(request: Any, **_: object) -> None:
        exchange, current.repeated, current.sent = current.repeated, None, None
        access.destination.check_hop(request.url, "botocore")
        exchange = exchange or access.begin(request.url)
        headers = exchange.headers(request.method, request.url, request.headers)
        request.headers.update(headers)
        current.sent = _Sent(exchange, request.url, headers, is_whole(request.body))

    def judge(response: Any, **_: object) -> float | None:
        """Return the seconds to wait before botocore sends the request again, or None for the caller's response."""
        sent, current.sent = current.sent, None
        if sent is None or response is None or not sent.exchange.has_remedy(sent.url, sent.headers, response[0]):
            return None
        if not sent.is_whole:
            return None
        sent.exchange.renew()
        current.repeated = sent.exchange
        return 0.0

    client.meta.events.register("before-send", authorize)
    client.meta.events.register("needs-retry", judge)
    return client
