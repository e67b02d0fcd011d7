"""Refused tokens are logged by issuer, within limits, and listed for the operator."""

import logging
from collections.abc import AsyncIterator

import pytest
from tests.admin import asking
from tests.unit.server.federation.test_platform_token import CI, RULE, TRUST, ask, token

from affiant.server.request.refused_tokens import MAX_ISSUERS, MINUTE
from affiant.testing import Server


def _logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.endswith("refused_tokens")]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server.in_process() as made:
        await made.add_api("https://orders.example", scope=("orders.read",), is_default=True)
        await made.add_client("deploy")
        await made.store.trusts.add(TRUST)
        await made.store.rules.add(RULE)
        yield made


async def test_one_line_a_minute_for_each_issuer(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    first = (await ask(server, token(server, repository_id="43")))[1]
    for _ in range(3):
        await ask(server, token(server, repository_id="43"))
    await ask(server, token(server, iss="https://other.example"))
    lines = _logged(caplog)
    assert lines[0] == f"a token of {CI} is refused: rule.none; affiant explain {first['trace_id']}"
    assert [line.split()[3] for line in lines] == [CI, "https://other.example"]
    server.clock.now += MINUTE
    await ask(server, token(server, repository_id="43"))
    assert [line.split()[0] for line in _logged(caplog)[2:]] == ["3", "a"]


async def test_strangers_fill_no_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    evil = "https://x.example/\x1b[2J\n" + "y" * 3000
    texts = [token(server, iss=evil), *(token(server, iss=f"https://{n}.example") for n in range(3 * MAX_ISSUERS))]
    for text in texts:
        await ask(server, text)
    lines = _logged(caplog)
    assert len(lines) == MAX_ISSUERS
    assert all(line.isprintable() and len(line) < 400 for line in lines)
    assert not any(part in line for line in lines for text in texts for part in text.split("."))


async def test_accepted_tokens_and_own_assertions_are_not_logged(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert (await ask(server, token(server)))[0] == 200
    assert (await ask(server, server.assertion("deploy", sub="other")))[0] == 401
    assert not _logged(caplog)


async def test_list_by_issuer_and_reason(server: Server) -> None:
    """Of tokens that no trust verified, it says so."""
    await ask(server, token(server, repository_id="43"))
    last = (await ask(server, token(server, repository_id="43")))[1]
    stranger = (await ask(server, token(server, iss="https://other.example", sub="job")))[1]
    await ask(server, token(server))
    async with asking(server.store) as admin:
        found = (await admin.get("refused-tokens")).json()
        assert (await admin.get("refused-tokens", params={"since": server.clock.now + 1})).json() == []
    at = server.clock.now
    known: dict[str, object] = {"count": 2, "reason": "rule.none", "subject": "repo:acme/app", "verified": True}
    assert found == [
        {"issuer": "https://other.example", "count": 1, "reason": "trust.unknown", "subject": "job", "verified": False,
         "at": at, "trace_id": stranger["trace_id"]},
        {"issuer": CI, **known, "at": at, "trace_id": last["trace_id"]},
    ]  # fmt: skip


async def test_a_token_that_is_sent_again_was_verified(server: Server) -> None:
    again = token(server)
    await ask(server, again)
    await ask(server, again)
    async with asking(server.store) as admin:
        (found,) = (await admin.get("refused-tokens")).json()
    assert (found["reason"], found["verified"]) == ("assertion.replayed", True)


async def test_admin_api_judges_a_token_by_a_trust(server: Server) -> None:
    """POST /explain: nothing is recorded, and the token is not used up."""
    text = token(server)
    before = len(await server.store.audit_log.export())
    async with asking(server.store) as admin:
        asked = {"request": text, "at": server.clock.now}
        found = (await admin.post("explain", json=asked)).json()
        other = (await admin.post("explain", json={**asked, "trust": "other"})).json()
    assert (found["accepted"], found["client_id"], found["trust"]) == (True, "deploy", "ci")
    assert found["granted"]["scope"] == ["orders.read"]
    assert found["rules"][0]["conditions"][0]["met"]
    assert (other["reason"], other["ladder"][3]["expected"]) == ("trust.unknown", "a trust named other")
    assert len(await server.store.audit_log.export()) == before
    assert (await ask(server, text))[0] == 200
