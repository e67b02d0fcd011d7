"""Run the code of a page of docs/how-to as it is there, with the issuer of a test."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.unit.resource.listening import API, ListeningIssuer

PAGES = Path(__file__).parents[4] / "docs" / "how-to"


def run(name: str, issuer: ListeningIssuer) -> dict[str, Any]:
    """Return the names that the code defines, as those of a module: frameworks look for annotations there."""
    text = (PAGES / name).read_text("utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    written = code.replace("https://as.example", issuer.url).replace(
        '"https://orders.example"', f'"{API}", clock=clock'
    )
    module = sys.modules[name] = ModuleType(name)
    module.__dict__["clock"] = lambda: issuer.now
    exec(compile(written, name, "exec"), module.__dict__)
    return module.__dict__
