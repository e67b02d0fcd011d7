"""The fork server from which tests start commands and servers (forks.py)."""

import sys

from tests.forks import Fork

WANTED = (
    "affiant.cli.registry.client",
    "affiant.cli.server.serve",
    "affiant.server.app",
    "tests.e2e.forked",
    "uvicorn",
)


def test_a_fork_has_imported_what_commands_need() -> None:
    """A process has one fork server: another module that sets its preload would replace ours without an error."""
    assert Fork(_count_missing, *WANTED).wait(60) == 0


def _count_missing(*names: str) -> None:
    sys.exit(len([name for name in names if name not in sys.modules]))
