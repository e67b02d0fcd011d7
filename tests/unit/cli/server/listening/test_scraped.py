"""The listener of `/metrics`."""

import logging

import httpx2
import pytest
from tests.loopback import HOST, free_port

from affiant.cli.server.listening import scraped
from affiant.telemetry.board import OwnBoard


def test_it_leaves_the_log_of_the_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of uvicorn, which strangers cause, are made and written as all others."""
    logger = logging.getLogger("uvicorn")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", True)
    place = f"{HOST}:{free_port()}"
    with scraped.exposed(place, OwnBoard()):
        assert httpx2.get(f"http://{place}{scraped.PATH}").status_code == 200
        assert (logger.handlers, logger.propagate) == ([], True)
