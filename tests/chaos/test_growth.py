"""D20: many hours of work in fast motion. What lives stays level; only the audit log grows, and by how much."""

import asyncio
import os
import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest
from tests.chaos.node import resident

from affiant.server.request.background import Background
from affiant.server.request.limits import Limits, Rates
from affiant.storage.entries import AuditRecord, Entry, JtiClaim, Outcome
from affiant.storage.sqlite import SqliteStore

START = 1_800_000_000
KEPT = 60 + 2 * 30  # seconds from the use of an assertion of a minute until its jti may go
MAX_BYTES = 150  # of a live row, with its share of both trees
MORE_MEMORY = 16 << 20


@dataclass
class Motion:
    """A store, its purge as the server runs it, and a clock that goes as fast as the disk lets it."""

    store: SqliteStore
    file: Path
    now: int = START
    kept: int = KEPT
    live: list[int] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        limits = Limits(Rates(), key=bytes(16))
        self._background = Background(self.store.ledger, limits, lambda: float(self.now))

    def _entry(self) -> Entry:
        jti = secrets.token_bytes(16)
        digest = sha256(jti).digest()
        record = AuditRecord(
            at=self.now + 0.25,
            trace_id=jti.hex()[:12],
            endpoint="token",
            outcome="issued",
            client_id=f"client{jti[0]}",
            method="private_key_jwt",
            alg="ES256",
            kid="JSWN_ffxhxCSQIONXNV9v8cjxUsNlzmdwIRcpZfBTyU",
            thumbprint="JSWN_ffxhxCSQIONXNV9v8cjxUsNlzmdwIRcpZfBTyU",
            jti_digest=digest.hex(),
            grant="client_credentials",
            scope="orders.read",
            resource="https://orders.example",
            address="192.0.2.17",
            milliseconds=0.731,
        )
        return Entry(record, claim=JtiClaim(f"client{jti[0]}", digest, self.now + self.kept))

    async def second(self, rate: int) -> None:
        """One second of work, and the purge that a server does in it."""
        outcomes = await asyncio.gather(*(self.store.ledger.claim(self._entry()) for _ in range(rate)))
        assert set(outcomes) == {Outcome.FIRST}
        await self._background._purge()
        self.now += 1

    def look(self) -> None:
        """Note how much there is."""
        with closing(sqlite3.connect(self.file)) as connection:
            self.live.append(connection.execute("SELECT count(*) FROM jti").fetchone()[0])
        self.memory.append(resident(os.getpid()))


def sizes(file: Path) -> dict[str, tuple[int, int]]:
    """Bytes on the disk and rows, of each kind: tables with their indexes."""
    with closing(sqlite3.connect(file)) as connection:
        try:
            pages = dict(connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
        except sqlite3.OperationalError as error:
            pytest.skip(f"this SQLite cannot tell which page belongs to what: {error}")
        count = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("jti", "audit")}
    return {
        name: (sum(size for kind, size in pages.items() if kind.partition("_by_")[0] == name), rows)
        for name, rows in count.items()
    }


@pytest.fixture
async def motion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Motion:
    """At 1_800_000_000, with an empty store."""
    monkeypatch.setattr("affiant.server.request.background.PAUSE_SECONDS", 0.0, raising=False)
    store = SqliteStore(tmp_path / "growth.db", audit_key=bytes(32))
    return Motion(store, tmp_path / "growth.db")


@pytest.mark.parametrize(("seconds", "rate"), [(900, 50), pytest.param(86_400, 50, marks=pytest.mark.soak)])
async def test_live_rows_stay_level(motion: Motion, seconds: int, rate: int) -> None:
    """As many jtis as assertions live, in as many bytes, in as much memory as in the first minutes."""
    await motion.store.open()
    try:
        for second in range(seconds):
            await motion.second(rate)
            if second >= 2 * KEPT and second % (seconds // 20) == 0:
                motion.look()
        motion.look()
        found = sizes(motion.file)
    finally:
        await motion.store.close()
    jti, audit = (found[name][0] / found[name][1] for name in ("jti", "audit"))
    print(
        f"{seconds * rate} claims: {min(motion.live)} to {max(motion.live)} live rows of {jti:.0f} bytes,"
        f" {audit:.0f} bytes for an audit record, {(motion.memory[-1] - motion.memory[0]) / 2**20:+.1f} MiB"
    )
    assert max(motion.live) <= rate * (KEPT + 3)
    assert found["audit"][1] == seconds * rate
    assert jti <= MAX_BYTES
    assert motion.memory[-1] - motion.memory[0] <= MORE_MEMORY


@pytest.mark.parametrize("rate", [500])
async def test_purge_keeps_up_with_a_busy_server(motion: Motion, rate: int) -> None:
    """Ten times as fast: what has ended goes as fast as it comes."""
    motion.kept = 20
    await motion.store.open()
    try:
        for _ in range(2 * motion.kept):
            await motion.second(rate)
        motion.look()
    finally:
        await motion.store.close()
    assert motion.live[-1] <= rate * (motion.kept + 3)
