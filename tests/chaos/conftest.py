"""Servers to be broken."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.chaos.node import Node


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A server that is prepared and not started; it ends with the test."""
    async with Node(tmp_path).prepared() as made:
        yield made
