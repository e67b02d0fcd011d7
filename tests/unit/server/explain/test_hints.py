"""Which mistake explains a refusal is found out after the answer: bounded, for names that nobody has too, and kept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from affiant.jose import base64url, compact, keys
from affiant.server import app
from affiant.server.client_auth.stranger import STRANGER
from affiant.server.explain import hints
from affiant.server.explain.hints import Inquiry
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import clients
from affiant.server.request.limits import Limits, Rate, Rates
from affiant.server.request.notes import Evidence, Notes, Request
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Api, Client

pytestmark = pytest.mark.anyio
ISSUER, NOW = "https://as.example", 1_800_000_000
KEY, OTHER = keys.generate("ES256"), keys.generate("ES256")
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def _payload_signed(client_id: str = "c1", jti: str = "j") -> str:
    """An assertion whose payload alone was signed: only with the client's key can that be seen."""
    claims = {"iss": client_id, "sub": client_id, "aud": ISSUER, "exp": NOW + 60, "jti": jti}
    head, payload, _ = compact.sign({}, claims, KEY).split(".")
    return f"{head}.{payload}.{base64url.encode(KEY.sign(payload.encode()))}"


@dataclass
class Place:
    store: MemoryStore = field(default_factory=MemoryStore)
    master: MasterKey = field(default_factory=lambda: MasterKey.from_bytes(bytes(32)))
    http: httpx2.AsyncClient = field(init=False)

    async def ask(self, text: str, **more: str) -> dict[str, Any]:
        form = {"grant_type": "client_credentials", "client_assertion_type": TYPE, "client_assertion": text, **more}
        answer: dict[str, Any] = (await self.http.post("/token", data=form)).json()
        return answer

    async def records(self) -> list[dict[str, Any]]:
        return [json.loads(row.record) for row in await self.store.audit_log.export(limit=10_000)]

    async def look(self, visits: list[Request]) -> list[dict[str, Any]]:
        """What comes of these visits, one look after another until nothing waits."""
        looking = Inquiry(self.store.ledger, lambda: float(NOW))
        for visit in visits:
            looking.offer(visit)
        before = len(await self.records())
        for _ in range(100):
            await looking.work()
        return (await self.records())[before:]


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    made = Place()
    api = Api("https://api.example", "a", ("r",), is_default=True, created_at=NOW)
    await made.store.apis.add(api)
    client = clients.build(
        Client("c1", "private_key_jwt", scope=("r",)),
        keys=(KEY.public(), OTHER.public()),
        master_key=made.master,
        now=NOW,
    )
    await made.store.clients.add(client.client)
    limits = Limits(Rates(Rate(5, 0.001), Rate(0, 1.0)), key=bytes(32))
    server = app.build(issuer=ISSUER, store=made.store, master_key=made.master, limits=limits, clock=lambda: float(NOW))
    transport = httpx2.ASGITransport(app=server)
    async with (
        server.router.lifespan_context(server),
        httpx2.AsyncClient(transport=transport, base_url=ISSUER) as made.http,
    ):
        yield made


async def _visit(place: Place, text: str, name: str | None = "c1") -> Request:
    from affiant.server.registry.directory import Directory

    client = await Directory(ISSUER, place.store, place.master).client(name) if name else None
    evidence = Evidence(client or STRANGER, compact.parse(text), text)
    return Request("token", "", NOW, notes=Notes(evidence=evidence))


async def test_a_hint_has_a_record_of_its_own(place: Place) -> None:
    visit = await _visit(place, _payload_signed())
    (record,) = await place.look([visit])
    assert record == {
        "at": NOW,
        "trace_id": f"{visit.trace_id}.hint",
        "endpoint": "token",
        "outcome": "explained",
        "hint": "signature.of_payload",
        "subject": f"request {visit.trace_id}",
    }


async def test_nothing_is_written_for_a_name_that_nobody_has(place: Place) -> None:
    assert await place.look([await _visit(place, _payload_signed("no"), None)]) == []


async def test_nothing_is_written_for_what_no_mistake_explains(place: Place) -> None:
    head, payload, _ = _payload_signed().split(".")
    visit = await _visit(place, f"{head}.{payload}.{base64url.encode(bytes(64))}")
    assert await place.look([visit]) == []


@pytest.mark.attack(306)
async def test_a_flood_is_looked_into_in_part(place: Place) -> None:
    """However many come at once, so many wait, and so many are tried in a second."""
    visits = [await _visit(place, _payload_signed(jti=str(number))) for number in range(1000)]
    looking = Inquiry(place.store.ledger, lambda: float(NOW))
    for visit in visits:
        looking.offer(visit)
    before = len(await place.records())
    await looking.work()
    assert len(await place.records()) - before == hints.SEARCHES
    for _ in range(100):
        await looking.work()
    assert len(await place.records()) - before <= 10


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


async def test_a_replay_is_told_from_a_jti_that_came_again(place: Place) -> None:
    claims = {"iss": "c1", "sub": "c1", "aud": ISSUER, "exp": NOW + 60, "jti": "j"}
    kept = compact.sign({}, claims, KEY)
    assert "access_token" in await place.ask(kept)
    again = await place.ask(kept)
    other = await place.ask(compact.sign({}, {**claims, "exp": NOW + 61}, KEY))
    explainer = app.build_explainer(issuer=ISSUER, store=place.store, master_key=place.master)
    # The server looks each second.
    from anyio import sleep

    for answer, hint in ((again, "jti.kept"), (other, "jti.repeated")):
        record = None
        for _ in range(100):
            if record := await place.store.audit_log.find(hints.trace_id(answer["trace_id"])):
                break
            await sleep(0.1)
        assert record is not None
        assert record["hint"] == hint
        told = await place.store.audit_log.find(answer["trace_id"])
        assert told is not None
        found = await explainer.explain_record(told)
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
