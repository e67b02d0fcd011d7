"""`affiant client new`: a client and its credentials file, or neither."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from affiant.cli.registry import handover
from affiant.cli.registry.client import client
from affiant.client import credentials
from affiant.errors import ConfigError, RemoteError

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

pytestmark = pytest.mark.anyio
MADE = credentials.Credentials("https://as.example", "billing", "private_key_jwt")


def _run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(client, [*words, "--data", str(data), "--json"])


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("method", ["private_key_jwt", "client_secret_basic", "client_secret_jwt"])
def test_a_client_whose_file_cannot_be_written_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Nobody has its key, and it would be in the way of the next attempt."""
    data = tmp_path / "data"
    failed = _run(data, "new", "billing", "--auth", method)
    assert isinstance(failed.exception, ConfigError)
    assert "cannot be written" in str(failed.exception)
    monkeypatch.chdir(tmp_path)
    assert json.loads(_run(data, "list").output)["data"] == []
    assert _run(data, "new", "billing", "--auth", method).exit_code == 0
    assert credentials.read(tmp_path / "billing.affiant.json").client_id == "billing"


class _Away:
    """An admin API that registered a client, and does not answer any more."""

    async def delete(self, path: str) -> None:
        assert path == "/clients/billing"
        raise RemoteError("the server is away")


async def test_who_cannot_take_it_back_is_told_what_to_do(tmp_path: Path) -> None:
    api: Any = _Away()  # it needs no more of one
    with pytest.raises(ConfigError, match="cannot be written") as failure:
        await handover.keep(api, MADE, tmp_path / "missing" / "billing.affiant.json")
    (note,) = failure.value.__notes__
    assert "the server is away" in note
    assert note.endswith("remove it: affiant client remove billing")


async def test_who_is_stopped_finishes_what_was_begun() -> None:
    begun, may_end, done = asyncio.Event(), asyncio.Event(), list[str]()

    async def work() -> None:
        begun.set()
        await may_end.wait()
        done.append("both halves")

    task = asyncio.create_task(handover.to_the_end(work()))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["both halves"]


async def test_what_fails_fails_as_before() -> None:
    async def work() -> None:
        raise ConfigError("no")

    with pytest.raises(ConfigError, match="no"):
        await handover.to_the_end(work())
