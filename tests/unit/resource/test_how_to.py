"""The code of docs/how-to/guard.md and issuers.md runs as it is there."""

import re
from pathlib import Path
from typing import Any

import httpx2
from tests.unit.resource.listening import API, listening

from affiant.client import Assertion
from affiant.jose import keys
from affiant.resource import Introspection

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"


def code_of(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (HOW_TO / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_issuers() -> None:
    several, reach, opaque = code_of("issuers.md")
    names: dict[str, Any] = {"Introspection": Introspection, "Assertion": Assertion, "key": keys.generate("ES256")}
    for code in (several, reach, opaque):
        exec(code, names)
    with listening() as issuer:
        written = several.replace("https://as.example", issuer.url)
        exec(written.replace("audience=[", f"clock=lambda: {issuer.now}, audience=["), names)
        for audience in ("https://orders.example", "api://orders"):
            caller = names["guard"].check_sync([issuer.token(aud=audience)])
            assert caller.issuer == issuer.url


async def test_forward_auth() -> None:
    *_, code = code_of("guard.md")
    with listening() as issuer:
        names: dict[str, Any] = {"guard": issuer.guard(url=API)}
        exec(code, names)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(names["app"]), base_url="http://guard") as http:
            headers = {"X-Original-Method": "GET", "X-Original-URI": "/orders/7"}
            assert (await http.get("/check", headers=headers)).status_code == 401
            headers["Authorization"] = issuer.token(scope="orders.read").decode()
            assert (await http.get("/check", headers=headers)).headers["Affiant-Client-Id"] == "c"


def test_wsgi_application() -> None:
    code, *_ = code_of("guard.md")
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
