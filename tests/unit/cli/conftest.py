"""The authorization server and the key of the client's tests; and a folder in which nothing can be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.unit.client.conftest import foreign, key

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["foreign", "key", "nowhere"]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder is gone: whoever writes a file by its name alone fails, root too."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
