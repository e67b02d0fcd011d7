"""The code of docs/how-to/dpop.md runs as it is there."""

import re
from pathlib import Path
from typing import Any

import pytest

from affiant.resource.replays import RedisReplays, SqliteReplays

PAGE = (Path(__file__).parents[4] / "docs" / "how-to" / "dpop.md").read_text("utf-8")


@pytest.mark.parametrize("store", [SqliteReplays, RedisReplays])
async def test_stores(tmp_path: Path, redis_url: str, store: type) -> None:
    (code,) = (
        block for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE) if "replays" in block
    )
    other = "RedisReplays" if store is SqliteReplays else "SqliteReplays"
    code = re.sub(rf"^replays = {other}.*$", "", code, flags=re.MULTILINE)
    names: dict[str, Any] = {}
    exec(
        code.replace("/run/orders", str(tmp_path)).replace("rediss://:PASSWORD@redis.example:6379/0", redis_url), names
    )
    assert [await names["replays"].claim(b"x" * 32, now=0, until=60) for _ in range(2)] == [True, False]
