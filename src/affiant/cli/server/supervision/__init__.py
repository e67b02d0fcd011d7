"""The supervisor of `affiant serve`: one small process that keeps the sockets, and workers that come and go.

The supervisor loads no code of the server. So it keeps running while workers with other code, settings and certificates
take over, and each reload starts Python again.
"""

from __future__ import annotations

import os

from affiant.cli.server.supervision.link import VARIABLE


def is_wanted(words: list[str]) -> bool:
    """Whether this command runs under a supervisor, and this process is to become it."""
    return words[:1] == ["serve"] and VARIABLE not in os.environ
