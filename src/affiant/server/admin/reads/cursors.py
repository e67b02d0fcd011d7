"""Cursors: the place at which a list continues, under a MAC, because a caller must not make one (CVE-2026-33504)."""

from __future__ import annotations

import hmac
from hashlib import sha256

from affiant.errors import Rejected
from affiant.jose import base64url
from affiant.reasons import Reason
from affiant.server.keys.master_key import MasterKey

MAX_CHARACTERS = 1024
_MAC_BYTES = 32


class Cursors:
    """Makes and reads cursors; all workers and nodes of a server accept each other's."""

    def __init__(self, master_key: MasterKey) -> None:
        self._key = master_key.digest("admin cursors")

    def seal(self, place: str, *, over: str) -> str:
        """Return a cursor for this place in a list; `over` names the list, by its route and filters."""
        data = place.encode()
        return base64url.encode(self._mac(data, over) + data)

    def open(self, cursor: str, *, over: str) -> str:
        """Return the place; raise ADMIN_CURSOR for a cursor of another list, or of another maker."""
        try:
            data = base64url.decode(cursor)
        except ValueError:
            raise Rejected(Reason.ADMIN_CURSOR) from None
        mac, place = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(place, over)):
            raise Rejected(Reason.ADMIN_CURSOR)
        return place.decode()

    def _mac(self, place: bytes, over: str) -> bytes:
        # The length separates the two: no list and place has the bytes of another list and place.
        name = over.encode()
        return hmac.digest(self._key, b"%d " % len(name) + name + place, sha256)
