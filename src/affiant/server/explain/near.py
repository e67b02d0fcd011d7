"""Find the registered name that a mistyped client_id most likely means, at a cost that no registry can raise."""

from __future__ import annotations

import asyncio
from difflib import get_close_matches

from affiant.storage.ports import Clients

PAGE = 100  # names that are compared at once: one to two milliseconds
# A typo mostly keeps the beginning of a name: list from each of these prefixes on, and from the first name.
_BEGINNINGS = (0, 1, 2, 4, 8, 16, 32)
_ALIKE = 0.7
_LONGEST = 128  # characters of the name that are compared: a comparison takes the product of both lengths


async def find(clients: Clients, name: str) -> tuple[str, ...]:
    """Return the registered name that is most similar to this one, or nothing.

    At most 14 pages of names are compared: all names of a small registry, the likely ones of a large one.
    """
    wanted = name[:_LONGEST].lower()
    best: tuple[str, ...] = ()
    for beginning in dict.fromkeys(text[:length] for text in (name, wanted) for length in _BEGINNINGS):
        page = [client.client_id for client in await clients.list(after=beginning, limit=PAGE)]
        lowered = {text.lower(): text for text in (*page, *best)}
        close = get_close_matches(wanted, lowered, n=1, cutoff=_ALIKE)
        best = tuple(lowered[text] for text in close)
        await asyncio.sleep(0)  # SQLite answers without yielding to the loop; let other requests run
    return best
