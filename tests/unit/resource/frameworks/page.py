"""Run the code of a page of docs/how-to as it is there, with the issuer of a test."""

import re
from pathlib import Path
from typing import Any

from tests.unit.resource.listening import API, ListeningIssuer

PAGES = Path(__file__).parents[4] / "docs" / "how-to"


def run(name: str, issuer: ListeningIssuer, **names: Any) -> dict[str, Any]:
    """Return the names that the code defines."""
    text = (PAGES / name).read_text("utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    written = code.replace("https://as.example", issuer.url).replace(
        '"https://orders.example"', f'"{API}", clock=clock'
    )
    found: dict[str, Any] = {**names, "clock": lambda: issuer.now, "__name__": name}
    exec(compile(written, name, "exec"), found)
    return found
