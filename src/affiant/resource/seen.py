"""The tokens that a guard has verified, in a bounded memory: it forgets those first that were not used for longest."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

from affiant.oauth.access_token import JudgedToken
from affiant.values import Value

MAX_BYTES = 33_554_432  # 13,000 tokens of 700 characters
# What a token takes at most: a part for all, and one for each of its characters, whose claims are Python objects.
_FIXED_BYTES, _CHARACTER_BYTES = 1_536, 1.5


Owner = TypeVar("Owner")


class Entry(Value, Generic[Owner], frozen=True):
    owner: Owner  # the issuer whose keys verified it
    edition: int  # of those keys
    judged: JudgedToken
    size: int


class Seen(Generic[Owner]):
    """Verified tokens by their digest, for all threads.

    Signature, type, issuer, audience and the form of the claims are judged once while the keys are the same. Times,
    binding, revocation and scope are judged with each request.
    """

    def __init__(self, *, most: int = MAX_BYTES) -> None:
        self._most = most
        self._size = 0
        self._entries: OrderedDict[bytes, Entry[Owner]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, digest: bytes) -> Entry[Owner] | None:
        """Return the token. It is verified only while the keys of its owner have the same edition."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        try:  # noqa: SIM105 - contextlib.suppress takes longer than all the rest
            self._entries.move_to_end(digest)
        except KeyError:  # another thread needed its place
            pass
        return entry

    def keep(self, digest: bytes, owner: Owner, edition: int, judged: JudgedToken, *, characters: int) -> None:
        """Remember a token of so many characters."""
        size = _FIXED_BYTES + int(characters * _CHARACTER_BYTES)
        with self._lock:
            last = self._entries.pop(digest, None)
            self._size -= last.size if last is not None else 0
            self._entries[digest] = Entry(owner, edition, judged, size)
            self._size += size
            while self._size > self._most:
                _, oldest = self._entries.popitem(last=False)
                self._size -= oldest.size
