"""A server on a data folder, and the commands that its operator types there."""

import asyncio
import gc
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import httpx2
from tests.zoo.caller import Request

from affiant.cli.main import affiant
from affiant.server import app
from affiant.server.explain import captured, hints
from affiant.server.explain.explainer import Explainer
from affiant.server.explain.explanation import Explanation
from affiant.server.keys import key_source
from affiant.server.settings.options import Options
from affiant.storage.sqlite import SqliteStore
from affiant.storage.sqlite.store import FILE_NAME
from affiant.testing import Server


class House(Server):
    """A server on a data folder, as `affiant serve` runs it."""

    explainer: Explainer
    folder: Path

    @classmethod
    @asynccontextmanager
    async def on_folder(cls, folder: Path, issuer: str) -> AsyncIterator[Self]:
        """The server of a new data folder; the master key must be in the environment."""
        data = folder / "affiant-data"
        data.mkdir()
        store = SqliteStore(data / FILE_NAME, audit_key=key_source.load(data).audit)
        async with cls.in_process(issuer=issuer, store=store) as made:
            await store.settings.put("issuer", issuer)
            options = Options(fresh_seconds=0.0)  # a change by a command is seen at once
            made.explainer = app.build_explainer(
                issuer=issuer, store=store, master_key=made.master_key, options=options
            )
            made.folder = folder
            yield made

    async def send(self, request: Request) -> int:
        return (await self.answer(request)).status_code

    async def answer(self, request: Request) -> httpx2.Response:
        return await self.http.request(
            request.method, request.url, headers=request.headers, content=request.body.encode()
        )

    async def trace(self, trace_id: str, *, looks: bool) -> Explanation:
        """What the log says of this request, once somebody has looked for its mistake."""
        for _ in range(1000 if looks else 0):
            if await self.store.audit_log.find(hints.trace_id(trace_id)) is not None:
                break
            await asyncio.sleep(0.01)
        record = await self.store.audit_log.find(trace_id)
        assert record is not None
        return await self.explainer.explain_record(record)

    async def explain(self, text: str) -> Explanation:
        return await self.explainer.explain(captured.parse(text), now=self.clock.now)

    async def type(self, line: str, files: Mapping[str, Path]) -> None:
        """Type a command at the folder, with files in place of the names that it has for them."""
        for name, file in files.items():
            line = line.replace(name, str(file))
        words = shlex.split(line)
        assert words[0] == "affiant"
        thresholds = gc.get_threshold()
        try:
            await asyncio.to_thread(
                affiant.main, [*words[1:], "--data", str(self.folder / "affiant-data")], standalone_mode=False
            )
        finally:
            gc.set_threshold(*thresholds)  # a command that runs alone raises them
