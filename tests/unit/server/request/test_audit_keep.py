"""The retention of audit records: the setting, and the folder of archives."""

from pathlib import Path

import pytest

from affiant.errors import ConfigError
from affiant.server import settings
from affiant.server.request.audit.archiving.keeping import parse_keep

DAY = 86_400


@pytest.mark.parametrize(("text", "seconds"), [("", 0), ("36h", 36 * 3600), ("90d", 90 * DAY), ("12w", 84 * DAY)])
def test_a_duration(text: str, seconds: int) -> None:
    assert parse_keep(text) == seconds


@pytest.mark.parametrize("text", ["0d", "90", "d", "90 d", "-1d", "1y", "9999999d", "999999w", "\u0669d"])
def test_no_duration(text: str) -> None:
    with pytest.raises(ConfigError, match="write 90d"):
        parse_keep(text)


@pytest.mark.usefixtures("no_settings")
def test_the_folder_of_the_server_and_of_the_operator(tmp_path: Path) -> None:
    keep = settings.load(data=tmp_path).options.audit
    assert (keep.seconds, keep.folder.path) == (0, tmp_path / "audit-archive")
    assert keep.folder.find(1) is None  # it is made when it is needed
    named = settings.load(data=tmp_path, audit_keep="90d", audit_archive=tmp_path / "missing").options.audit
    assert named.seconds == 90 * DAY
    with pytest.raises(ConfigError, match="missing"):
        named.folder.find(1)
