"""The house of the fuzz tests, with a client of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.fuzz.house import House

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with House() as opened:
        yield opened
