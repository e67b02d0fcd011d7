"""Our client is right in every column of the scoreboard (bench/clients), and the scoreboard sees what is wrong."""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from bench.clients.__main__ import cell
from bench.clients.experiments import EXPERIMENTS

TIMED = {"loop blocked", "10 slow calls"}  # left to `python -m bench.clients`: a busy machine may stop a process
COUNTED = [experiment for experiment in EXPERIMENTS if experiment.name not in TIMED]
SEES = {"20 callers, cold", "5 calls, 60 s token", "assertion", "3 jti of 3 requests", "resource renewed"}


def _row(library: str) -> dict[str, dict[str, Any]]:
    """Run all experiments of one library at once: most of their time is waiting for a token to end."""
    with ThreadPoolExecutor(len(COUNTED)) as pool:
        cells = pool.map(lambda experiment: cell(sys.executable, library, experiment), COUNTED)
        return {experiment.name: found for experiment, found in zip(COUNTED, cells, strict=True)}


@pytest.mark.parametrize("library", ["affiant_httpx2_async", pytest.param("affiant_requests", marks=pytest.mark.soak)])
def test_every_cell_is_right(library: str) -> None:
    assert {name: found["shown"] for name, found in _row(library).items() if found["right"] is False} == {}


def test_the_scoreboard_sees_what_is_wrong() -> None:
    """google-auth asks once for each caller, keeps no short token, and sends no jti, no kid and no resource."""
    assert {name for name, found in _row("google_auth").items() if found["right"] is False} >= SEES
