"""The code of docs/how-to/guard.md about metrics, readiness and explanations runs as it is there."""

import re
from pathlib import Path
from typing import Any

import pytest
from tests.unit.resource.listening import API, listening

PAGE = (Path(__file__).parents[4] / "docs" / "how-to" / "guard.md").read_text("utf-8")


def test_metrics_readiness_and_explanation(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (code,) = (block for block in blocks if "explain_sync" in block)
    with listening() as issuer:
        written = code.replace("https://as.example", issuer.url).replace("https://orders.example", API)
        names: dict[str, Any] = {}
        exec(written.replace(f'"{API}"', f'"{API}", clock=lambda: {issuer.now}'), names)
    assert names["probe"].status == 503
    assert "affiant_guard_requests_total" in names["page"]
    assert capsys.readouterr().out.startswith("refused: token.malformed\n")
