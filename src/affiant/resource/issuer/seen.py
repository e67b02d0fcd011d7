"""The tokens that a guard has verified, in a bounded memory: it forgets the oldest of those that were not used again.

A request marks its token, and moves nothing: an order by use, with 10,000 callers in turn, costs as much as the rest of
the search.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

import msgspec

from affiant.oauth.access_token import JudgedToken

MAX_BYTES = 41_943_040  # 13,000 tokens of 700 characters
MOST_SPARED = 64  # used tokens that one new token passes over, so that it does not wait for thousands
# What a token takes at most: a part for all, and one for each of its characters, whose claims are Python objects.
_FIXED_BYTES, _CHARACTERS_BYTES = 2_048, 3  # the latter for two of them


Owner = TypeVar("Owner")


class Entry(msgspec.Struct, Generic[Owner]):
    owner: Owner  # the issuer whose keys verified it
    edition: int  # of those keys
    judged: JudgedToken
    size: int
    was_used: bool = False  # since it was kept, or spared


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
        if entry is not None:
            entry.was_used = True
        return entry

    def keep(self, digest: bytes, owner: Owner, edition: int, judged: JudgedToken, *, characters: int) -> None:
        """Remember a token of so many characters."""
        size = _FIXED_BYTES + characters * _CHARACTERS_BYTES // 2
        with self._lock:
            last = self._entries.pop(digest, None)
            self._size -= last.size if last is not None else 0
            self._entries[digest] = Entry(owner, edition, judged, size)
            self._size += size
            self._make_room()

    def _make_room(self) -> None:
        spared = 0
        while self._size > self._most:
            digest, oldest = self._entries.popitem(last=False)
            if oldest.was_used and spared < MOST_SPARED:
                oldest.was_used = False
                self._entries[digest] = oldest
                spared += 1
            else:
                self._size -= oldest.size
