"""Every trap leaves in the audit log what an operator needs: the condition that it misses, what came, and no credential."""

import json

import pytest
from tests.platforms.issuer import signed
from tests.platforms.token import ABSENT
from tests.platforms.trap import Refusal, Trap
from tests.platforms.traps import TRAPS
from tests.unit.server.federation.registering import audited, form, trusting

from affiant.server.registry.federation import nearest

BY_RULE = [trap for trap in TRAPS.values() if trap.by is Refusal.RULE and isinstance(trap.token.at("/sub"), str)]


@pytest.mark.parametrize("trap", BY_RULE, ids=lambda trap: trap.name)
async def test_missed_condition_is_noted_with_what_came(trap: Trap) -> None:
    async with trusting(trap.beside) as server:
        reply = await server.post(form(signed(trap.token)))
        record = await audited(server, reply.json()["trace_id"])
    found = nearest.parse(record["nearest"])
    assert found is not None
    assert (found.trust, found.rule) == (trap.platform, trap.platform)
    unmet = {one.claim: one for one in found.unmet}
    assert trap.where in unmet
    came = trap.token.at(trap.where)
    if came is ABSENT or isinstance(came, str | bool | int):
        assert unmet[trap.where].got == (None if came is ABSENT else came)
    assert trap.beside.pins[trap.where] in unmet[trap.where].expected


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
async def test_no_record_or_answer_has_the_token(trap: Trap) -> None:
    text = signed(trap.token)
    async with trusting(trap.beside) as server:
        reply = await server.post(form(text))
        record = json.dumps(await audited(server, reply.json()["trace_id"]))
    for secret in (text, *text.split("."), str(trap.token.claims.get("user_email", text))):
        assert secret not in record
        assert secret not in reply.text
