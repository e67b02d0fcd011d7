"""The commands of docs/how-to/audit-retention.md, as they are printed, on a log with records of last year."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contract.archiving import fill, verified
from tests.stores import opened

from affiant.server.keys import key_source
from affiant.storage.sqlite import SqliteStore

PAGE = Path(__file__).resolve().parents[4] / "docs" / "how-to" / "audit-retention.md"
Run = Callable[..., tuple[int, Any]]


def _commands() -> list[list[str]]:
    lines = PAGE.read_text("utf-8").splitlines()
    return [line.removeprefix("$ affiant ").split() for line in lines if line.startswith("$ affiant ")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder whose log has 30 records of 1970."""
    folder = tmp_path / "affiant-data"
    folder.mkdir(mode=0o700)
    key_source.make(folder)

    async def work() -> None:
        store = SqliteStore(folder / "affiant.db", audit_key=key_source.load(folder).audit)
        async with opened(store):
            await fill(store, 30)

    asyncio.run(work())
    return folder


def test_the_commands_of_the_page(run_json: Run, data: Path) -> None:
    dry, archive, chain, alone, signature = _commands()
    assert run_json(*dry)[1]["count"] == 30
    assert not (data / "audit-archive").exists()
    ((file,),) = [run_json(*archive)[1]["files"]]
    assert (file["first"], file["last"]) == (1, 30)

    path = str(Path(file["file"]))
    assert "*.gz" in chain[2]
    code, found = run_json(*(path if "*" in word else word for word in chain))
    assert (code, found["number"], found["chain"]) == (0, 31, True)
    assert found["files"][0]["thumbprint"] == file["thumbprint"]
    assert found["files"][0]["sha256"] == file["sha256"]
    assert run_json(*alone)[1]["number"] == 31

    words = [{"THUMBPRINT": file["thumbprint"]}.get(word, path if "*" in word else word) for word in signature]
    code, found = run_json(*words)
    assert (code, found["number"], found["chain"]) == (0, 30, False)
    words[-1] = "x" * 43
    code, error = run_json(*words)
    assert (code, error["code"]) == (1, "audit.signature")


def test_a_record_that_is_archived(run_json: Run, data: Path) -> None:
    trace = "trace0000007"
    assert run_json("audit", "show", trace)[1]["reason"] == "assertion.expired"
    head = run_json("audit", "head")[1]["head"]
    ((file,),) = [run_json("audit", "archive", "--until", "today")[1]["files"]]
    for command in ("explain", "audit show"):
        code, error = run_json(*command.split(), trace)
        assert code != 0
        assert "records until 1970-01-02 06:00:00 UTC are archived" in error["message"]
    # The saved head is that of the base; one before it is in the file alone.
    assert run_json("audit", "verify", "--expect", head)[0] == 0
    code, error = run_json("audit", "verify", "--expect", f"7:{'0' * 64}")
    assert (code, error["code"]) == (1, "audit.archived")
    assert run_json("audit", "verify", file["file"], "--expect", head)[0] == 0
    assert run_json("audit", "verify", file["file"], "--expect", f"7:{'0' * 64}")[1]["code"] == "audit.rewritten"


def test_the_log_must_go_on_where_the_files_end(run_json: Run, data: Path) -> None:
    for until in (10 * 3600, 20 * 3600):
        run_json("audit", "archive", "--until", str(until))
    one, two = sorted((data / "audit-archive").iterdir())
    assert run_json("audit", "verify", str(one), str(two), "--log")[0] == 0
    code, error = run_json("audit", "verify", str(one), "--log")
    assert (code, error["code"], error["number"]) == (1, "audit.deleted", 10)
    assert "the files that were given end at record 9" in error["message"]


def test_the_log_verifies_after_it_was_archived(run_json: Run, data: Path) -> None:
    run_json("audit", "archive", "--until", "today")

    async def work() -> list[int]:
        async with opened(SqliteStore(data / "affiant.db", audit_key=key_source.load(data).audit)) as store:
            base = await store.audit_log.base()
            assert base.number == 30
            with pytest.raises(Exception, match="no server with this master key"):
                await verified(store)  # under the key of other tests
            return [row.number for row in await store.audit_log.export()]

    assert asyncio.run(work()) == [31]
