"""Ask an API or a server, and read no more of its answer than a diagnosis needs.

Attack: an answer that never ends, or that a few bytes of gzip make, fills the memory of whoever looks for a fault.
"""

from __future__ import annotations

import time
from typing import Any

import httpx2

SECONDS = 10.0
MOST_BYTES = 262_144


def get(http: httpx2.Client, url: str, *, auth: Any = None) -> tuple[httpx2.Response, bytes]:
    """Return the response and the beginning of its body."""
    end, body = time.monotonic() + SECONDS, b""
    with http.stream("GET", url, headers={"accept-encoding": "identity"}, auth=auth) as reply:
        for part in reply.iter_raw():
            body += part
            if len(body) > MOST_BYTES or time.monotonic() > end:
                break
    return reply, body[:MOST_BYTES]
