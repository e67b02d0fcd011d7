"""What a route takes is what its endpoint's signature says, and what is wrong with it is said of its place."""

import re
from typing import Any

import pytest
from tests.admin import asking, member

from affiant.server.admin import app
from affiant.server.admin.models import Out
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.operation import Operation, Reach
from affiant.storage.memory import MemoryStore

SECRET = "c9f0a1"


class Counted(Out):
    """A document that an endpoint makes wrongly."""

    count: int


async def _broken(call: Any) -> Any:
    """A fault of ours, not of the caller."""
    return Counted.model_validate({"count": SECRET})


async def _wrong(call: Any) -> Any:
    """An answer that is not the document that was declared."""
    return {"count": SECRET}


@pytest.mark.parametrize("route", app.OPERATIONS, ids=lambda route: f"{route.method} {route.path}")
async def test_every_argument_has_a_place(route: Operation) -> None:
    places = list(route.places.values())
    assert [name for place, name in places if place == "path"] == re.findall(r"{(\w+)", route.path)
    assert len(set(places)) == len(places)
    assert (route.body is not None) <= (route.method in ("POST", "PATCH"))
    assert list(route.asked.model_fields) == list(route.places)


async def test_mistakes_are_listed_by_place() -> None:
    store = MemoryStore()
    await store.clients.add(member("c1"))
    async with asking(store) as http:
        reply = await http.patch("/clients/c1", json={"nope": 1, "enabled": 1}, headers={"If-Match": "x" * 1001})
    assert (reply.status_code, reply.json()["reason"]) == (400, "admin.query")
    found = [one.partition(":")[0] for one in reply.json()["detail"].split("; ")]
    assert found == ["header.if-match", "body.enabled", "body.nope"]


@pytest.mark.parametrize("endpoint", [_broken, _wrong])
async def test_fault_of_an_endpoint_is_no_mistake_of_the_caller(
    endpoint: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    declared = Operation("faults", "GET", "/fault", Role.VIEWER, Reach.PUBLIC, endpoint, Counted)
    monkeypatch.setattr(app, "OPERATIONS", (declared,))
    async with asking(MemoryStore()) as http:
        reply = await http.get("/fault")
    assert (reply.status_code, reply.json()["reason"]) == (500, "server.error")
    assert "count" in caplog.text
    assert SECRET not in caplog.text + reply.text


async def test_answer_without_content_has_no_type() -> None:
    store = MemoryStore()
    await store.clients.add(member("c1", Role.VIEWER))
    await store.clients.add(member("c2"))
    async with asking(store) as http:
        reply = await http.delete("/clients/c1")
    assert (reply.status_code, reply.content) == (204, b"")
    assert "content-type" not in reply.headers
