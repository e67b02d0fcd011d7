"""Uses are counted in memory and written from time to time; only a crash loses them."""

from collections.abc import Sequence

import pytest

from affiant.errors import StoreError
from affiant.server.request.counting.uses import Uses
from affiant.storage.memory import MemoryStore
from affiant.storage.records import KeyUse

NOW = 1_800_000_000.5


class Failing:
    """A port that fails until it is mended."""

    def __init__(self) -> None:
        self.is_broken = True
        self.written: list[KeyUse] = []

    async def add(self, uses: Sequence[KeyUse]) -> None:
        if self.is_broken:
            raise StoreError("away")
        self.written += uses

    async def list(self, *client_ids: str) -> list[KeyUse]:
        return [use for use in self.written if use.client_id in client_ids]


async def test_what_was_counted_is_told_once() -> None:
    store = MemoryStore()
    uses = Uses(store.key_uses)
    for seconds, credential in ((0, "a"), (1, "b"), (2, "a")):
        uses.count("c", credential, NOW + seconds)
    await uses.write()
    await uses.write()
    start = int(NOW)
    assert await store.key_uses.list("c") == [
        KeyUse("c", "a", 2, start, start + 2),
        KeyUse("c", "b", 1, *[start + 1] * 2),
    ]


async def test_what_could_not_be_told_is_counted_on() -> None:
    port = Failing()
    uses = Uses(port)
    uses.count("c", "a", NOW)
    with pytest.raises(StoreError):
        await uses.write()
    uses.count("c", "a", NOW + 9)
    port.is_broken = False
    await uses.write()
    assert port.written == [KeyUse("c", "a", 2, int(NOW), int(NOW) + 9)]
