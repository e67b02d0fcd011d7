"""Find another server at the issuer of this data: a sign that the command uses the wrong data folder."""

from __future__ import annotations

import http.client
import json
from collections.abc import Collection
from urllib.parse import urlsplit

from affiant.oauth.metadata import LOOPBACK

_SECONDS = 1.0
_MAX_BYTES = 262_144


def answers(issuer: str, kids: Collection[str]) -> bool:
    """Whether a server on this machine answers at this issuer and publishes none of these signing keys.

    An issuer on another machine is not asked: a command at the data folder needs no network.
    """
    parts = urlsplit(issuer)
    if parts.hostname not in LOOPBACK:
        return False
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_SECONDS)
    try:
        connection.request("GET", f"{parts.path}/jwks")
        answer = connection.getresponse()
        published = json.loads(answer.read(_MAX_BYTES))["keys"] if answer.status == http.client.OK else []
        found = {key["kid"] for key in published}
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False  # no server, or not affiant
    finally:
        connection.close()
    return bool(found) and found.isdisjoint(kids)
