"""A power cut: the disk keeps what was flushed and nothing else. kill -9 cannot show this, as the kernel lives on.

A file system of its own is shut down under the server without its log being flushed, and mounted again. What was
only in memory is gone, as after a power cut; with synchronous=OFF or NORMAL this test fails.
"""

import fcntl
import os
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.chaos.history import ISSUED, REFUSED
from tests.chaos.node import Node

from affiant.storage.sqlite import copies

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ext4 on a loop device"),
]

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, linux/fs/ext4/ext4.h
_NO_LOG_FLUSH = 2
CONNECTIONS = 32


@dataclass
class Disk:
    """An ext4 file system in a file, which can lose its power."""

    image: Path
    place: Path

    def plug_in(self) -> None:
        """Mount it; what its journal holds is replayed."""
        subprocess.run(["mount", "-o", "loop", self.image, self.place], check=True, capture_output=True)

    def lose_power(self) -> None:
        """From here on nothing is written, and what was not flushed is lost."""
        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def unplug(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", self.place], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """A disk, plugged in where the data folder will be."""
    made = Disk(tmp_path / "disk.img", tmp_path / "affiant-data")
    made.place.mkdir()
    try:
        with made.image.open("wb") as file:
            file.truncate(128 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", made.image], check=True, capture_output=True)
        made.plug_in()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be made and mounted here: {error}")
    return made


@pytest.fixture
async def powered(disk: Disk, tmp_path: Path) -> AsyncIterator[Node]:
    """A server on that disk."""
    try:
        async with Node(tmp_path).prepared() as made:
            os.sync()
            yield made
    finally:
        with suppress(subprocess.CalledProcessError):
            disk.unplug()


@pytest.mark.parametrize("rounds", [1, pytest.param(50, marks=pytest.mark.soak)])
async def test_power_cut_loses_nothing(powered: Node, disk: Disk, rounds: int) -> None:
    """Every token that was acknowledged before the cut is known after it, and no assertion gets a second one."""
    crowd = powered.crowd()
    for _ in range(rounds):
        await powered.boot()
        seen = len(crowd.history.events)
        async with crowd.running(CONNECTIONS):
            await crowd.answered(300)
            # The processor goes first, by some milliseconds: no client would hear what it says without a disk.
            powered.kill()
            disk.lose_power()
        disk.unplug()
        disk.plug_in()
        await powered.boot()
        issued = [crowd.shots[event.jti] for event in crowd.history.events[seen:] if event.outcome == ISSUED]
        again = await crowd.replay(issued[-200:])
        assert {event.outcome for event in again} == {REFUSED}
        powered.kill()
    verdict = powered.approve(crowd)
    copies.check(powered.file)
    print(f"{rounds} power cuts: {verdict}")
