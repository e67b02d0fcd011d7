"""The code of docs/how-to/guard.md runs as it is there."""

import re
from pathlib import Path
from typing import Any

from tests.unit.resource.listening import API, listening

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "guard.md").read_text("utf-8")


def test_wsgi_application() -> None:
    code, *_ = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    answers: list[Any] = []
    with listening() as issuer:
        written = code.replace("https://as.example", issuer.url).replace("https://orders.example", API)
        names: dict[str, Any] = {}
        exec(written.replace(f'"{API}"', f'"{API}", clock=lambda: {issuer.now}'), names)
        for scope in ("orders.admin", "orders.write"):
            environ = {"HTTP_AUTHORIZATION": issuer.token(scope=scope).decode()}
            body = names["app"](environ, lambda *answer: answers.append(answer))
            answers[-1] = (answers[-1][0], b"".join(body))
    assert answers[0] == ("200 OK", b"orders of c")
    assert answers[1][0] == "403 Refused"
