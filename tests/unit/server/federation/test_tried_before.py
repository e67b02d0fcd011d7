"""POST /explain/planned: a token is judged by a trust and a rule that are not registered; who may do that, and no trace."""

import json
from typing import Any

import pytest
from tests.admin import ISSUER, NOW, asking
from tests.platforms import github
from tests.platforms.issuer import Issuer, signed

from affiant.server.admin.roles import Principal, Role
from affiant.storage.memory import MemoryStore

JOB = github.job(audience=ISSUER)
KEYS = Issuer.of(JOB).jwks
TRUST = {"name": "github", "issuer": github.ISSUER, "preset": "github", "jwks": KEYS}
CONDITIONS = {"repository_id": ["74"], "ref": ["refs/heads/main"]}
RULE = {"name": "deploy", "trust": "github", "client_id": "deploy", "conditions": CONDITIONS}


async def _ask(store: MemoryStore, body: dict[str, Any], role: Role = Role.OWNER) -> tuple[int, dict[str, Any]]:
    async with asking(store, Principal("ann", role)) as http:
        answer = await http.post("/explain/planned", json={"token": signed(JOB, NOW), **body})
    return answer.status_code, answer.json()


async def test_nothing_is_stored_or_used_up() -> None:
    store = MemoryStore()
    for _ in range(2):
        status, found = await _ask(store, {"trust": TRUST, "rule": RULE})
        assert (status, found["accepted"]) == (200, True)
    assert await store.trusts.list() == []
    assert await store.rules.list() == []
    assert await store.audit_log.newest() == []


@pytest.mark.parametrize("condition", [{"repository_id": ["75"]}, {"ref": ["refs/heads/ma"]}])
async def test_each_condition_counts(condition: dict[str, list[str]]) -> None:
    rule = RULE | {"conditions": CONDITIONS | condition}
    status, found = await _ask(MemoryStore(), {"trust": TRUST, "rule": rule})
    assert (status, found["accepted"], found["reason"]) == (200, False, "rule.none")
    (compared,) = found["rules"]
    assert [one["claim"] for one in compared["conditions"] if not one["met"]] == list(condition)


async def test_a_signature_by_another_key_is_refused() -> None:
    other = Issuer.of(github.job(issuer=github.data_residency("acme"))).jwks
    _, found = await _ask(MemoryStore(), {"trust": TRUST | {"jwks": other}, "rule": RULE})
    assert found["accepted"] is False
    assert [line["name"] for line in found["ladder"] if line["mark"] == "failed"] in (["signature"], ["key"])


@pytest.mark.parametrize(
    ("role", "body", "status"),
    [
        (Role.VIEWER, {"rule": RULE}, 403),
        (Role.OPERATOR, {"trust": TRUST, "rule": RULE}, 403),  # the server would fetch what an operator names
        (Role.OPERATOR, {"rule": RULE}, 404),
        (Role.OWNER, {"trust": TRUST | {"issuer": ISSUER}, "rule": RULE}, 422),
        (Role.OWNER, {"trust": {"name": "github"}, "rule": RULE}, 422),
        (Role.OWNER, {"trust": {**TRUST, "jwks": None}, "rule": RULE}, 422),  # this server fetches nothing
        (Role.OWNER, {"trust": TRUST, "rule": {}}, 422),
        (Role.OWNER, {"trust": TRUST, "rule": RULE, "token": "a.b.c"}, 422),
    ],
)
async def test_who_may_ask_what(role: Role, body: dict[str, Any], status: int) -> None:
    found, document = await _ask(MemoryStore(), body, role)
    assert found in ({status, 400} if status == 422 else {status}), document
    assert signed(JOB, NOW) not in json.dumps(document)
