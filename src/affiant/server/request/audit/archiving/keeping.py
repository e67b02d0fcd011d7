"""Parse the setting audit_keep: how long audit records stay in the database."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from affiant.errors import ConfigError
from affiant.server.request.audit.archiving.folder import Folder

_KEEP = re.compile(r"([0-9]{1,6})([hdw])")
_SECONDS = {"h": 3600, "d": 86_400, "w": 604_800}
_LONGEST = 10**10  # seconds


class Keep(NamedTuple):
    """Seconds that records stay, 0 for ever; and the folder of older ones."""

    seconds: int = 0
    folder: Folder = Folder(Path("audit-archive"))


def parse_keep(text: str) -> int:
    """Return the seconds of a duration such as 90d; 0 for an empty one."""
    found = _KEEP.fullmatch(text)
    seconds = int(found[1]) * _SECONDS[found[2]] if found is not None else 0
    if text and not 0 < seconds < _LONGEST:
        raise ConfigError("write 90d, 12w or 36h")
    return seconds
