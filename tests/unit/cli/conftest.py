"""The authorization server and the key of the client's tests; and a folder in which nothing can be written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.conftest import foreign, key

from affiant.cli.main import main

Run = Callable[..., tuple[int, Any]]

__all__ = ["foreign", "key", "nowhere", "run_json"]


@pytest.fixture
def run_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with --json in an empty folder; return its exit code and its data, or its error."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, Any]:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--json"])
        text = capsys.readouterr().out
        document = json.loads(text) if text else {}
        return int(str(ended.value.code)), document.get("data", document.get("error"))

    return run


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder is gone: whoever writes a file by its name alone fails, root too."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
