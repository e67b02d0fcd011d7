"""What commands and servers of tests are forks of (forks.py)."""

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
    """Whoever else names what the one fork server of a process loads takes this away, and nothing would say so."""
    assert Fork(_count_missing, *WANTED).wait(60) == 0


def _count_missing(*names: str) -> None:
    sys.exit(len([name for name in names if name not in sys.modules]))
