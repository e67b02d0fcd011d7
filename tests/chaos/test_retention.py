"""Ten million audit records go into files, and what is left is one chain with them."""

import asyncio

import pytest
from bench import retention

pytestmark = pytest.mark.soak


@pytest.mark.parametrize(("make", "count"), [("sqlite", 10_000_000), ("postgres", 1_000_000)])
def test_a_long_log_is_archived(make: str, count: int, request: pytest.FixtureRequest) -> None:
    """It raises where a file, a record or a link is wrong."""
    database = request.getfixturevalue("tables") if make == "postgres" else None
    asyncio.run(retention.main(count, 0, database))
