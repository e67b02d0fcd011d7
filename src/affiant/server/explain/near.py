"""Find the registered name that a mistyped client_id most likely means, at a cost that no registry can raise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from difflib import get_close_matches

from affiant.storage.ports import Clients

PAGE = 100  # names that are compared at once: one to two milliseconds
# A typo mostly keeps the beginning of a name: list from each of these prefixes on, and from the first name.
_BEGINNINGS = (0, 1, 2, 4, 8, 16, 32)
_ALIKE = 0.7
_LONGEST = 128  # characters of the name that are compared: a comparison takes the product of both lengths


def closest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of these names that is most similar to this one, if one is."""
    lowered = {text.lower(): text for text in names}
    close = get_close_matches(name[:_LONGEST].lower(), lowered, n=1, cutoff=_ALIKE)
    return lowered[close[0]] if close else None


async def find(clients: Clients, name: str) -> tuple[str, ...]:
    """Return the registered name that is most similar to this one, or nothing.

    At most 14 pages of names are compared: all names of a small registry, the likely ones of a large one.
    """
    wanted = name[:_LONGEST].lower()
    best: tuple[str, ...] = ()
    for beginning in dict.fromkeys(text[:length] for text in (name, wanted) for length in _BEGINNINGS):
        page = [client.client_id for client in await clients.list(after=beginning, limit=PAGE)]
        close = closest(wanted, (*page, *best))
        best = (close,) if close is not None else ()
        await asyncio.sleep(0)  # SQLite answers without yielding to the loop; let other requests run
    return best
