"""Servers to be broken."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.chaos.node import Node


@pytest.fixture
async def node(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Node]:
    """A server that is prepared and not started; it ends with the test."""
    made = Node(tmp_path, free_port())
    await made.prepare()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A port of 127.0.0.1 that nobody listens on."""
    from tests.e2e.conftest import _free_port

    return _free_port
