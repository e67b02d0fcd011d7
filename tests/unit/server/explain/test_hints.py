"""The search for the mistake behind a refusal runs after the answer, is bounded, and does the same work for unknown clients."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from affiant.jose import base64url, compact, keys
from affiant.server import app
from affiant.server.client_auth.stranger import STRANGER
from affiant.server.explain import hints
from affiant.server.explain.hints import Inquiry
from affiant.server.registry.directory import Directory, RegisteredClient
from affiant.server.request.limits import Rate, Rates
from affiant.server.request.notes import Evidence, Notes, Request
from affiant.testing import ISSUER, KEY, NOW, Server, form

OTHER = keys.generate("ES256")


def _payload_signed(client_id: str = "c1", jti: str = "j") -> str:
    """An assertion whose payload alone was signed: only with the client's key can that be seen."""
    claims = {"iss": client_id, "sub": client_id, "aud": ISSUER, "exp": NOW + 60, "jti": jti}
    head, payload, _ = compact.sign({}, claims, KEY).split(".")
    return f"{head}.{payload}.{base64url.encode(KEY.sign(payload.encode()))}"


async def _records(server: Server) -> list[dict[str, Any]]:
    return [json.loads(row.record) for row in await server.store.audit_log.export(limit=10_000)]


async def _look(server: Server, visits: list[Request]) -> list[dict[str, Any]]:
    """What comes of these visits, one look after another until nothing waits."""
    looking = Inquiry(server.store.ledger, server.clock)
    for visit in visits:
        looking.offer(visit)
    before = len(await _records(server))
    for _ in range(100):
        await looking.work()
    return (await _records(server))[before:]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server.in_process(rates=Rates(Rate(5, 0.001), Rate(0, 1.0))) as made:
        await made.add_api("https://api.example", scope=("r",), is_default=True)
        await made.add_client("c1", keys=(KEY.public(), OTHER.public()))
        yield made


async def _visit(server: Server, text: str, name: str | None = "c1") -> Request:
    client = await Directory(ISSUER, server.store, server.master_key).client(name) if name else None
    evidence = Evidence(client or STRANGER, compact.parse(text), text)
    return Request("token", "", NOW, notes=Notes(evidence=evidence))


async def test_a_hint_has_a_record_of_its_own(server: Server) -> None:
    visit = await _visit(server, _payload_signed())
    (record,) = await _look(server, [visit])
    assert record == {
        "at": NOW,
        "trace_id": f"{visit.trace_id}.hint",
        "endpoint": "token",
        "outcome": "explained",
        "hint": "signature.of_payload",
        "subject": f"request {visit.trace_id}",
    }


async def test_nothing_is_written_for_a_name_that_nobody_has(server: Server) -> None:
    assert await _look(server, [await _visit(server, _payload_signed("no"), None)]) == []


async def test_nothing_is_written_for_what_no_mistake_explains(server: Server) -> None:
    head, payload, _ = _payload_signed().split(".")
    visit = await _visit(server, f"{head}.{payload}.{base64url.encode(bytes(64))}")
    assert await _look(server, [visit]) == []


@pytest.mark.attack(306)
async def test_a_flood_is_looked_into_in_part(server: Server) -> None:
    """However many come at once, so many wait, and so many are tried in a second."""
    visits = [await _visit(server, _payload_signed(jti=str(number))) for number in range(1000)]
    looking = Inquiry(server.store.ledger, server.clock)
    for visit in visits:
        looking.offer(visit)
    before = len(await _records(server))
    await looking.work()
    assert len(await _records(server)) - before == hints.SEARCHES
    for _ in range(100):
        await looking.work()
    assert len(await _records(server)) - before <= 10


@pytest.mark.attack(306)
@pytest.mark.parametrize("client", [STRANGER, STRANGER.proving()], ids=["token", "prove"])
def test_unknown_client_costs_the_same_search(client: RegisteredClient, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = list[int]()
    monkeypatch.setattr(hints, "find", lambda held, *_: tried.append(len(held)))
    hints.find_for(client, compact.parse(_payload_signed()), _payload_signed(), now=NOW)
    assert tried == [1]


@pytest.mark.attack(306)
async def test_a_client_with_many_keys_costs_no_more() -> None:
    """What is tried for one signature is bounded, and the caller chooses nothing of it but its own bytes."""
    tried = list[str]()

    class Counted:
        """A public key that says how often it was asked."""

        kty, crv, kid, algorithms = "EC", "P-256", "k", frozenset({"ES256"})

        @property
        def key(self) -> Any:
            tried.append("")
            return KEY.public().key

    text = _payload_signed()
    keys_ = [Counted() for _ in range(64)]
    head, payload, _ = text.split(".")
    bad = compact.parse(f"{head}.{payload}.{base64url.encode(bytes(64))}")
    assert hints.find(keys_, bad, text) is None  # type: ignore[arg-type]
    assert len(tried) <= 64 + hints.MAX_KEYS * 80


async def test_a_replay_is_told_from_a_jti_that_came_again(server: Server) -> None:
    claims = {"iss": "c1", "sub": "c1", "aud": ISSUER, "exp": NOW + 60, "jti": "j"}
    kept = compact.sign({}, claims, KEY)
    assert "access_token" in (await server.post(form(kept))).json()
    again = (await server.post(form(kept))).json()
    other = (await server.post(form(compact.sign({}, {**claims, "exp": NOW + 61}, KEY)))).json()
    explainer = app.build_explainer(issuer=ISSUER, store=server.store, master_key=server.master_key)
    # The server looks each second.
    from anyio import sleep

    for answer, hint in ((again, "jti.kept"), (other, "jti.repeated")):
        record = None
        for _ in range(100):
            if record := await server.store.audit_log.find(hints.trace_id(answer["trace_id"])):
                break
            await sleep(0.1)
        assert record is not None
        assert record["hint"] == hint
        record = await server.store.audit_log.find(answer["trace_id"])
        assert record is not None
        found = await explainer.explain_record(record)
        assert found.fix is not None
        assert "used 0 s before, by the request" in found.fix.why


@pytest.mark.parametrize("text", ["", "signature.der", "signature.nope", "signature.algorithm ES256", None, "x y z"])
def test_a_hint_that_is_not_known_is_none(text: str | None) -> None:
    assert hints.parse(text) is None


@pytest.mark.parametrize("code", hints.HINTS)
def test_every_hint_has_words_and_a_line(code: str) -> None:
    names = {"signature.other_key": ("a kid",)}.get(code, ("ES256", "PS256")[: hints.HINTS[code].names])
    hint = hints.Hint(code, names)
    assert hints.parse(hint.text) == hint
    assert hint.what
    compile(hint.line, "line", "exec")
    assert "{" not in hint.what + hint.line


def test_an_algorithm_that_a_stranger_made_up_gets_into_no_line() -> None:
    evil = 'x"; import os; os.system("id") #'
    head = base64url.encode(json.dumps({"alg": evil}).encode())
    payload = base64url.encode(b'{"iss":"c1"}')
    text = f"{head}.{payload}.{base64url.encode(KEY.sign(f'{head}.{payload}'.encode()))}"
    hint = hints.find([KEY.public()], compact.parse(text), text)
    assert hint is not None
    assert hint.text == "signature.header_algorithm ES256 another"
    assert "os" not in hint.line
