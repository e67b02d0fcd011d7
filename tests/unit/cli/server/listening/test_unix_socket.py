"""The file of a Unix socket has its mode from the first moment, whatever the umask of its user."""

import os
import stat
from pathlib import Path

import pytest

from affiant.cli.server.listening import port


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)  # a path of a socket has 107 bytes at most
    return Path("api.sock")


@pytest.mark.attack
@pytest.mark.parametrize("mode", [0o600, 0o666])
@pytest.mark.parametrize("umask", [0, 0o077])
def test_mode_is_set_without_the_name(short: Path, monkeypatch: pytest.MonkeyPatch, mode: int, umask: int) -> None:
    """By its name, the mode of another file could be changed: that of a link that its owner puts there."""

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("changed by its name")

    monkeypatch.setattr(os, "chmod", forbidden)
    former = os.umask(umask)
    try:
        with port.listen_at(short, option="--listen", mode=mode):
            assert stat.S_IMODE(short.stat().st_mode) == mode
        assert os.umask(umask) == umask
    finally:
        os.umask(former)
