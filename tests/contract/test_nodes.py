"""What a store that lasts promises to several processes, and to several nodes."""

import asyncio
import os
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from tests.stores import at, entry, go, opened, race, records, start

from affiant.storage.entries import AuditRecord, Entry, Outcome
from affiant.storage.records import Client

_PRELUDE = """
import asyncio, sys
from pathlib import Path
from affiant.storage.postgres import PostgresStore
from affiant.storage.entries import AuditRecord, Entry, JtiClaim, Outcome
from affiant.storage.sqlite import SqliteStore

where, name = sys.argv[1:]
store = PostgresStore(where) if "://" in where else SqliteStore(Path(where))

def entry(n):
    audit = AuditRecord(at=0.0, trace_id=f"{name}-{n}", endpoint="token", outcome="issued", jti_digest=str(n))
    return Entry(audit, claim=JtiClaim("c", n.to_bytes(32, "big"), 1))

async def claim(n):
    outcome = await store.ledger.claim(entry(n))
    print(n, outcome.name, flush=True)

async def connection(first):
    for n in range(first, 2000, 50):
        await claim(n)

async def for_ever():
    for start in range(0, 10**9, 20):
        await asyncio.gather(*map(claim, range(start, start + 20)))
"""


def _program(work: str, *, before: str = "await store.open()", after: str = "await store.close()") -> str:
    steps = (before, 'print("ready", flush=True)', "sys.stdin.readline()", work, after)
    main = "".join(f"    {step}\n" for step in steps)
    return f"{_PRELUDE}\nasync def main():\n{main}\nasyncio.run(main())\n"


_ALL = "await asyncio.gather(*map(claim, range(200)))"
_EACH = _program(_ALL)
_FIRST_OPENING = _program(f"await store.open(); {_ALL}", before="")
# 50 connections, each of which sends every one of its assertions once; the other node gets the very same.
_RACE = _program("await asyncio.gather(*map(connection, range(50)))")
_FOR_EVER = _program("await for_ever()")


@pytest.mark.parametrize(("program", "size"), [(_EACH, 200), (_RACE, 2000)], ids=["200 at once", "50 connections"])
async def test_two_processes_race(place: str, program: str, size: int) -> None:
    """Both contest every jti: each is won once, all is written down, and the record names the winner."""
    async with opened(at(place)):
        said = race({name: start(program, place, name) for name in "ab"})
    won = [f"{name}-{line.split()[0]}" for name, lines in said.items() for line in lines if line.endswith("FIRST")]
    assert len(won) == len({winner.split("-")[1] for winner in won}) == size
    async with opened(at(place)) as store:
        written = await records(store)
    assert Counter(record["outcome"] for record in written) == {"issued": size, "refused": size}
    assert {record["trace_id"] for record in written if record["outcome"] == "issued"} == set(won)


async def test_processes_race_from_the_very_first_opening(tmp_path: Path) -> None:
    """Four create the file at once and contest 200 jtis: each is won once, and the record names its winner."""
    place = str(tmp_path / "new" / "race.db")
    said = race({name: start(_FIRST_OPENING, place, name) for name in "abcd"})
    won = {f"{name}-{line.split()[0]}" for name, lines in said.items() for line in lines if line.endswith("FIRST")}
    assert sorted(int(winner.split("-")[1]) for winner in won) == list(range(200))
    async with opened(at(place)) as store:
        written = await records(store)
    assert len(written) == 800
    assert {record["trace_id"] for record in written if record["outcome"] == "issued"} == won


async def test_acknowledged_claims_survive_kill_9(place: str) -> None:
    """Whatever the dead node said it had claimed is a replay for the other, and is in the audit log."""
    async with opened(at(place)) as store:
        child = start(_FOR_EVER, place, "child")
        go(child)
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(300)]
        os.kill(child.pid, signal.SIGKILL)
        said += child.communicate(timeout=10)[0].splitlines(keepends=True)
        claimed = [int(line.split()[0]) for line in said if line.endswith(" FIRST\n")]
        assert len(claimed) >= 300
        for n in claimed:
            assert await store.ledger.claim(entry(n, trace_id="again")) is Outcome.REPLAYED
        assert {f"child-{n}" for n in claimed} <= {record["trace_id"] for record in await records(store)}


async def test_every_node_sees_a_change_within_a_second(place: str) -> None:
    async with AsyncExitStack() as stack:
        one, other, third = [await stack.enter_async_context(opened(at(place))) for _ in range(3)]
        for change in (
            lambda: one.clients.add(Client("c", "private_key_jwt")),
            lambda: other.clients.update("c", lambda client: replace(client, enabled=False)),
            lambda: third.settings.put("issuer", "https://as.example"),
            lambda: one.clients.remove("c"),
        ):
            before = [await store.version() for store in (one, other, third)]
            await change()
            begun = time.monotonic()
            for store, old in zip((one, other, third), before, strict=True):
                while await store.version() == old:
                    assert time.monotonic() - begun < 1
                    await asyncio.sleep(0.01)


async def test_nodes_take_turns_in_one_chain(place: str) -> None:
    """Each transaction re-reads the last link: the other node may have written since."""
    async with opened(at(place)) as one, opened(at(place)) as other:
        for n in range(20):
            audit = AuditRecord(at=0.0, trace_id=str(n), endpoint="token", outcome="issued")
            await (one, other)[n % 2].ledger.claim(Entry(audit))
        written = await records(one)
    assert [record["trace_id"] for record in written] == [str(n) for n in range(20)]
