"""D5: a disk that is full, a limit on file sizes, and places that may not be written."""

import asyncio
import contextlib
import errno
import os
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.chaos.history import ISSUED, UNAVAILABLE
from tests.chaos.node import CLIENTS, Node

from affiant.storage.sqlite import copies

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="tmpfs, prlimit and setpriv are Linux's"),
]

HEALED = 5.0
NOTICED, STEADY = 2.0, 1.0  # NOTICED is the promise; a machine that runs other tests as well gets BUSY times as long
BUSY, ON_END = 5, 50
SIZE = 16 << 20
WAL_PAGES = 1000  # after so many, SQLite begins the write-ahead log again, in the space that it has


@contextlib.contextmanager
def _mounted(place: Path, options: str) -> Iterator[None]:
    place.mkdir(mode=0o700, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Node]:
    """A server whose data folder is a small disk of its own."""
    with _mounted(tmp_path / "affiant-data", f"size={SIZE},mode=0700"):
        async with Node(tmp_path).prepared() as made:
            yield made


def _fill(folder: Path) -> Path:
    """Take every byte that is left."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return ballast


async def test_full_disk_is_answered_with_503(small: Node) -> None:
    """Nothing is issued that was not written; what only reads goes on; with space it goes on by itself."""
    crowd = small.crowd()
    await small.boot()
    async with crowd.running(8):
        await crowd.answered(50)
        ballast = _fill(small.data)
        await crowd.refused(50, seconds=20)
        assert [await small.get(path) for path in ("/health/live", "/jwks")] == [200, 200]
        ballast.unlink()
        healed = await crowd.answered(1)
        await small.until_ready()
        await crowd.answered(50)
    small.stop()
    print(f"{small.approve(crowd)}; healed in {healed:.2f} s")
    copies.check(small.file)
    assert healed <= HEALED


async def _steady(node: Node, status: int, *, within: float) -> None:
    """Every worker says this in time, and then nothing else."""
    end, on_end = time.monotonic() + within, 0
    while on_end < ON_END:
        assert time.monotonic() < end, f"not {status} from every worker within {within} s"
        on_end = on_end + 1 if await node.ready() == status else 0  # a new connection each: all workers are asked
    end, seen = time.monotonic() + STEADY, []
    while time.monotonic() < end:
        seen.append(await node.ready())
        await asyncio.sleep(0.01)
    assert set(seen) == {status}, seen


@pytest.mark.parametrize(
    ("left", "workers", "within"),
    [
        (0, 2, BUSY * NOTICED),
        pytest.param(0, 2, NOTICED, marks=pytest.mark.soak),
        pytest.param(16_384, 1, NOTICED, marks=pytest.mark.soak),
    ],
)
async def test_health_of_a_full_disk_does_not_flap(small: Node, left: int, workers: int, within: float) -> None:
    """With or without requests, and while small commits fit now and then; in every worker."""
    crowd = small.crowd()
    small.workers = workers
    await small.boot()
    async with crowd.running(1):
        await crowd.answered(20)
    ballast = _fill(small.data)
    os.truncate(ballast, ballast.stat().st_size - left)
    async with crowd.running(1):
        await _steady(small, 503, within=within)
        await crowd.refused(1, seconds=20)
    ballast.unlink()
    await _steady(small, 200, within=within)
    async with crowd.running(1):
        await crowd.answered(20)
        assert await small.ready() == 200
    small.stop()
    small.approve(crowd)


async def test_full_disk_does_not_end_the_server(small: Node) -> None:
    """With the limits that operators have: their file is memory that must not be missing when it is written to."""
    small.environment = {}
    crowd = small.crowd()
    crowd.clients = CLIENTS[:1]
    await small.boot()
    async with crowd.running(4):
        await crowd.answered(WAL_PAGES // 4)
        ballast = _fill(small.data)
        crowd.clients = CLIENTS  # names that the limits have not written down yet
        seen = len(crowd.history.events)
        await crowd.until(lambda: len(crowd.history.events) > seen + 100 or small.is_ended(), seconds=20)
        ballast.unlink()
        assert not small.is_ended(), "it died of the full disk"
        await crowd.answered(50)
    small.stop()
    small.approve(crowd)


async def test_file_size_limit_is_answered_with_503(node: Node) -> None:
    """The same without a disk of its own: `ulimit -f`, lowered and raised while the server runs."""
    crowd = node.crowd()
    await node.boot()
    async with crowd.running(8):
        await crowd.answered(50)
        log = node.file.with_name(f"{node.file.name}-wal").stat().st_size
        usual = resource.prlimit(node.worker, resource.RLIMIT_FSIZE, (log, resource.RLIM_INFINITY))
        await crowd.refused(50, seconds=20)
        resource.prlimit(node.worker, resource.RLIMIT_FSIZE, usual)
        healed = await crowd.answered(1)
        await crowd.answered(50)
    node.stop()
    print(f"{node.approve(crowd)}; healed in {healed:.2f} s")
    copies.check(node.file)
    assert healed <= HEALED
    assert crowd.history.count(UNAVAILABLE) >= 50


@pytest.fixture
def mortal(node: Node) -> Node:
    """A server that file permissions bind, whoever runs the tests."""
    if os.geteuid() == 0:
        words = (
            "setpriv",
            "--bounding-set=-dac_override,-dac_read_search",
            "--inh-caps=-dac_override,-dac_read_search",
        )
        try:
            subprocess.run([*words, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("root may write everywhere, and setpriv cannot take that away here")
        node.prefix = words
    return node


@pytest.mark.parametrize("name", ["affiant.db", ""])
async def test_read_only_place_is_refused_at_start(mortal: Node, name: str) -> None:
    """One line that says which file; and when it may be written again, it starts."""
    place = mortal.data / name
    mode = place.stat().st_mode
    place.chmod(0o400 if name else 0o500)
    try:
        _refuses(mortal)
    finally:
        place.chmod(mode)
    await mortal.boot()


async def test_read_only_folder_is_not_called_damaged(mortal: Node) -> None:
    """A backup must not replace a database that is whole."""
    mortal.data.chmod(0o500)
    try:
        _refuses(mortal)
    finally:
        mortal.data.chmod(0o700)
    assert mortal.child is not None
    assert "restore" not in mortal.child.err


async def test_read_only_disk_is_refused_at_start(small: Node) -> None:
    """A disk that was mounted read-only, as after errors."""
    options = ["mount", "-o", "remount,ro", str(small.data)]
    subprocess.run(options, check=True)
    _refuses(small)
    options[2] = "remount,rw"
    subprocess.run(options, check=True)
    await small.boot()


async def test_place_made_read_only_under_load_loses_nothing(mortal: Node) -> None:
    """The files are open already: whatever is issued then is still written."""
    crowd = mortal.crowd()
    await mortal.boot()
    async with crowd.running(8):
        await crowd.answered(50)
        places = {place: place.stat().st_mode for place in (*mortal.data.iterdir(), mortal.data)}
        for place in places:
            place.chmod(0o500)
        begun = time.monotonic()
        await crowd.until(lambda: time.monotonic() > begun + 1 or crowd.history.count(ISSUED) > 1000)
        for place, mode in places.items():
            place.chmod(mode)
        assert await crowd.answered(20) <= HEALED
    mortal.stop()
    print(mortal.approve(crowd))


def _refuses(node: Node) -> None:
    node.launch()
    assert node.child is not None
    assert node.child.process.wait(10) in (7, 8)
    assert "Traceback" not in node.child.err
    assert "affiant-data" in node.child.err, node.child.err
