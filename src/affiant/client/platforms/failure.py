"""Why there is no token of a platform."""

from __future__ import annotations

from affiant.errors import LocalError


class PlatformError(LocalError):
    """The platform gave no token, or one that the server would refuse. The server was not asked."""
