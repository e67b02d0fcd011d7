"""A trust that refuses less must not widen its rules: tokens of strangers would meet them from then on."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.admin import asking
from tests.platforms import github

from affiant.oauth import names
from affiant.testing import Server

RULE = {"repository_id": ["74"], "ref": ["refs/heads/main"]}


@pytest.fixture
async def admin() -> AsyncIterator[Any]:
    async with Server.in_process() as server:
        await server.add_client("deploy", names.FEDERATED_JWT)
        async with asking(server.store) as http:
            await made(http, "/trusts", name="github", issuer=github.ISSUER, preset="github")
            await made(http, "/rules", name="deploy", trust="github", client_id="deploy", conditions=RULE)
            yield http


async def made(http: Any, path: str, **members: Any) -> None:
    reply = await http.post(path, json=members)
    assert reply.status_code == 201, reply.text


async def test_a_trust_cannot_take_what_its_rules_do_not_rule_out(admin: Any) -> None:
    reply = await admin.patch("/trusts/github", json={"refuses": {}})
    assert reply.status_code == 422, reply.text
    assert "the rule deploy" in reply.json()["detail"]
    assert "event_name" in reply.json()["detail"]
    change = {"action": "update", "kind": "trust", "name": "github", "members": {"refuses": {}}}
    judged = await admin.post("/dry-run", json={"changes": [change]})
    assert [one["name"] for one in judged.json()["refused"]] == ["github"]


async def test_it_can_once_they_do(admin: Any) -> None:
    pinned = {**RULE, "event_name": ["push", "workflow_run"]}
    assert (await admin.patch("/rules/deploy", json={"conditions": pinned})).status_code == 200

    reply = await admin.patch("/trusts/github", json={"refuses": {"event_name": ["pull_request_target"]}})

    assert reply.status_code == 200, reply.text


async def test_not_by_a_disabled_trust_that_is_enabled_again_either(admin: Any) -> None:
    assert (await admin.patch("/trusts/github", json={"enabled": False, "refuses": {}})).status_code == 200

    reply = await admin.patch("/trusts/github", json={"enabled": True})

    assert reply.status_code == 422, reply.text
    assert (await admin.patch("/trusts/github", json={"max_lifetime": 600})).status_code == 200
