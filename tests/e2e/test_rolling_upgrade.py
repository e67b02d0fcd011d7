"""Two nodes on one PostgreSQL get a release with a migration, one after the other, under load: no request is refused."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx2
import pytest
from tests.e2e.test_postgres import Nodes
from tests.postgres import Postgres
from tests.process import AFFIANT, children

import affiant

KEEP_ALIVE = 5.0
NEXT = """ALTER TABLE client ADD COLUMN later text;
ALTER TABLE audit ADD COLUMN later text NOT NULL DEFAULT '';
CREATE TABLE later (name text PRIMARY KEY);
"""


class Released(Nodes):
    """Nodes whose code is a folder behind a link, as an operator installs releases."""

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"PYTHONPATH": str(self.folder / "current")}

    def install(self) -> None:
        """Two releases: this code, and the next with one more migration."""
        package = Path(affiant.__file__).parent
        for name in ("this", "next"):
            shutil.copytree(package, self.folder / name / "affiant", ignore=shutil.ignore_patterns("__pycache__"))
        folder = self.folder / "next" / "affiant" / "storage" / "migrations" / "postgres"
        (folder / "9999_next.sql").write_text(NEXT, "utf-8")
        self.switch("this")

    def switch(self, name: str) -> None:
        (self.folder / "link").symlink_to(self.folder / name)
        (self.folder / "link").rename(self.folder / "current")

    def upgrade(self, number: int) -> None:
        """Reload a node, and wait until only new workers are left."""
        node = self.children[number]
        before = set(children(node.process.pid))
        os.kill(node.process.pid, signal.SIGHUP)
        node.until(lambda: "reloaded: " in node.err and not before & set(children(node.process.pid)))

    @contextmanager
    def load(self) -> Iterator[list[int]]:
        """Run clients of both nodes, some with pauses; yield the statuses of the answers."""
        statuses, failures, done = list[int](), list[Exception](), threading.Event()

        def ask(url: str, longest: float) -> None:
            drawn = random.Random(longest)
            try:
                with httpx2.Client(timeout=20, trust_env=False) as client:
                    while not done.is_set():
                        statuses.append(client.post(url, data=self.form()).status_code)
                        done.wait(drawn.uniform(0, longest))
            except Exception as failure:  # noqa: BLE001 - raised below
                failures.append(failure)

        asking = [(url, longest) for url in self.urls for longest in (0.01, 0.1, *([KEEP_ALIVE - 1.5] * 4))]
        threads = [threading.Thread(target=ask, args=each) for each in asking]
        for thread in threads:
            thread.start()
        try:
            yield statuses
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert not failures


def _migrations(database: str) -> int:
    async def read() -> int:
        connection = await asyncpg.connect(database)
        try:
            return int(await connection.fetchval("SELECT max(number) FROM migration"))
        finally:
            await connection.close()

    return asyncio.run(read())


@pytest.mark.soak
def test_rolling_upgrade_refuses_nothing(own_postgres: Postgres, tmp_path: Path) -> None:
    """And between the two upgrades, a process of the old release can start with the new schema."""
    nodes = Released(tmp_path, own_postgres.create())
    nodes.install()
    try:
        nodes.start()
        known = _migrations(nodes.database)
        with nodes.load() as statuses:
            nodes.children[0].until(lambda: len(statuses) > 50)
            nodes.switch("next")
            nodes.upgrade(0)
            assert _migrations(nodes.database) == known + 1
            seen = len(statuses)
            old = os.environ | nodes.environment | {"PYTHONPATH": str(tmp_path / "this")}
            done = subprocess.run(
                [*AFFIANT, "client", "list", "--data", "data-a"],
                env=old,
                cwd=tmp_path,
                capture_output=True,
                check=False,
            )
            assert (done.returncode, b"billing" in done.stdout) == (0, True), done.stderr
            nodes.upgrade(1)
            after = len(statuses)
            nodes.children[1].until(lambda: len(statuses) > after + 50)
        assert set(statuses) == {200}
        print(f"{len(statuses)} tokens, {after - seen} of them between the upgrades")
        nodes.records()
    finally:
        nodes.stop()
