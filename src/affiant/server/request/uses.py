"""Which credentials are in use: counted in memory with every request, told to the store every second (background.py).

What answers "may the old key go?" must come from real use, and must not cost a write per request.
"""

from __future__ import annotations

from affiant.storage.ports import KeyUses
from affiant.storage.records import KeyUse


class Uses:
    """The uses of this process since they were told last."""

    def __init__(self, key_uses: KeyUses) -> None:
        self._key_uses = key_uses
        self._counted: dict[tuple[str, str], list[float]] = {}

    def count(self, client_id: str, credential: str, now: float) -> None:
        """Note that a client has just authenticated."""
        use = self._counted.get((client_id, credential))
        if use is None:
            self._counted[client_id, credential] = [1, now, now]
        else:
            use[0] += 1
            use[2] = now

    async def tell(self) -> None:
        """Add what was counted to what the store has."""
        counted, self._counted = self._counted, {}
        if not counted:
            return
        uses = [KeyUse(*names, int(count), int(first), int(last)) for names, (count, first, last) in counted.items()]
        try:
            await self._key_uses.add(uses)
        except BaseException:
            self._take_back(counted)
            raise

    def _take_back(self, counted: dict[tuple[str, str], list[float]]) -> None:
        for names, (count, first, last) in counted.items():
            since = self._counted.get(names, [0, first, last])
            self._counted[names] = [count + since[0], min(first, since[1]), max(last, since[2])]
