"""`affiant register`: the rest of a failed registration."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from affiant.cli.registry.registration.register import register
from affiant.errors import Unreachable


def test_server_that_was_not_found_has_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No request with the key was sent, so there is nothing for an operator to remove."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFFIANT_INITIAL_ACCESS_TOKEN", "t" * 43)
    failed = CliRunner().invoke(register, ["http://127.0.0.1:1", "billing"])
    assert isinstance(failed.exception, Unreachable)
    assert (getattr(failed.exception, "__notes__", []), list(tmp_path.iterdir())) == ([], [])
