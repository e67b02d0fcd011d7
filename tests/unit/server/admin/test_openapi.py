"""The description of the admin API is OpenAPI 3.1, and has whatever can be answered."""

from typing import Any

import pytest
import schemathesis
from tests.admin import ADMIN, asking, make_gate

from affiant.errors.reasons import Reason
from affiant.server.admin.app import OPERATIONS
from affiant.storage.memory import MemoryStore

ALWAYS = {"400", "401", "403", "408", "413", "429", "503"}
BY_REASON = {
    Reason.ADMIN_NOT_FOUND: "404",
    Reason.ADMIN_EXISTS: "409",
    Reason.ADMIN_LAST_OWNER: "409",
    Reason.ADMIN_CHANGED: "412",
}


@pytest.fixture
async def described() -> dict[str, Any]:
    async with asking(MemoryStore()) as http:
        found: dict[str, Any] = (await http.get("/openapi.json")).json()
    return found


async def test_it_is_openapi_3_1(described: dict[str, Any]) -> None:
    assert described["openapi"] == "3.1.0"
    assert described["servers"] == [{"url": ADMIN}]
    schemathesis.openapi.from_dict(described).validate()


async def test_every_route_is_described_with_its_role_and_its_refusals(described: dict[str, Any]) -> None:
    found = {(path, method): op for path, ops in described["paths"].items() for method, op in ops.items()}
    declared = {(route.path.replace(":path", ""), route.method.lower()): route for route in OPERATIONS}
    assert set(found) == set(declared)
    for name, route in declared.items():
        answers, wanted = set(found[name]["responses"]), {*ALWAYS, str(route.status)}
        wanted |= {"422"} if route.method in ("POST", "PATCH") else set()
        assert answers == wanted | {BY_REASON[reason] for reason in route.refuses}, name
        assert found[name]["x-role"] == route.role.value
        for status in answers - {str(route.status)}:
            assert list(found[name]["responses"][status]["content"]) == ["application/problem+json"], (name, status)


async def test_callers_prove_who_they_are(described: dict[str, Any]) -> None:
    assert described["security"] == [{"bearer": []}, {"dpop": []}]
    assert {scheme["scheme"] for scheme in described["components"]["securitySchemes"].values()} == {"bearer", "DPoP"}
    assert not any("security" in op for ops in described["paths"].values() for op in ops.values())


async def test_no_document_is_without_use(described: dict[str, Any]) -> None:
    """FastAPI's own answer to a mistake, which is never given here, is not promised either."""
    text = str(described)
    for name in described["components"]["schemas"]:
        assert f"'#/components/schemas/{name}'" in text, name
    assert "HTTPValidationError" not in text


def test_gate_knows_its_place() -> None:
    assert make_gate(MemoryStore()).prefix == "/admin/api"
