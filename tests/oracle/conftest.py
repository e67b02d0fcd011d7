"""The house of the fuzz tests, with a client of each kind."""

from collections.abc import Iterator

import pytest
from tests.fuzz.house import House


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with House() as opened:
        yield opened
