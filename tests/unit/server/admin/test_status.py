"""The status of a node: what /health says, its version and its clock."""

from tests.admin import ISSUER, NOW, asking

from affiant.storage.memory import MemoryStore
from affiant.system.version import __version__


async def test_status() -> None:
    async def obstacles() -> list[str]:
        return ["store: the disk is full"]

    async with asking(MemoryStore(), obstacles=obstacles) as http:
        assert (await http.get("/status")).json() == {
            "version": __version__,
            "issuer": ISSUER,
            "now": NOW,
            "clock_offset": 0.0,
            "obstacles": ["store: the disk is full"],
        }
