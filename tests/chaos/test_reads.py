"""An operator reads all there is, from a server with many clients and a long log, while others want tokens."""

import asyncio
from argparse import Namespace
from pathlib import Path

import pytest
from bench import reads

pytestmark = pytest.mark.soak
# Without a read that holds the event loop it is 5 to 10 on a quiet machine; with one, it is all the time that this takes.
MOST_MILLISECONDS = 100


@pytest.mark.parametrize("make", ["sqlite", "postgres"])
def test_long_reads_hold_up_neither_health_nor_tokens(
    make: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    database = request.getfixturevalue("tables") if make == "postgres" else None
    found = asyncio.run(reads.run(Namespace(folder=str(tmp_path), database=database, records=141_000, clients=10_000)))
    assert not any(refused for _, refused in found.values()), found
    assert max(milliseconds for milliseconds, _ in found.values()) < MOST_MILLISECONDS, found
