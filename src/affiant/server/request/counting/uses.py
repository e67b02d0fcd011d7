"""Count the use of credentials in memory, and write it to the store every second (background.py).

Whether an old key can be removed follows from its real use, which must not cost a write per request.
"""

from __future__ import annotations

from affiant.storage.ports import KeyUses
from affiant.storage.records import KeyUse


class Uses:
    """The uses in this process since the last write."""

    def __init__(self, key_uses: KeyUses) -> None:
        self._key_uses = key_uses
        self._counted: dict[tuple[str, str], list[float]] = {}

    def count(self, client_id: str, credential: str, now: float) -> None:
        """Count a use; `credential` is the thumbprint of a key or certificate, or the id of a secret."""
        use = self._counted.get((client_id, credential))
        if use is None:
            self._counted[client_id, credential] = [1, now, now]
        else:
            use[0] += 1
            use[2] = now

    async def write(self) -> None:
        """Add the counted uses to those in the store."""
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
