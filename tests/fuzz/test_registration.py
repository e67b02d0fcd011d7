"""Whatever a client registers: what is told, or a refusal with a reason of the closed list that stores nothing."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import wire
from tests.fuzz.house import CODES, MAX_ERROR, House
from tests.fuzz.registrations import registrations
from tests.fuzz.test_fuzz import in_both_profiles
from tests.wire import Reply, Request

from affiant.server.registration import initial_tokens
from affiant.testing import ISSUER, KEY, bearer

STATUSES = {400, 401, 413}


@dataclass
class Desk(House):
    """The house, with an initial access token and a client that registered itself by it."""

    token: str = ""
    client_id: str = ""
    access_token: str = ""

    async def _open(self) -> None:
        await super()._open()
        self.token = await self.server.invite(
            scope=("read", "write"), authorization_details_types=("payment",), uses=initial_tokens.MAX_USES
        )
        told = json.loads((await wire.send(self.server.app, self.register())).body)
        self.client_id, self.access_token = told["client_id"], told["registration_access_token"]
        self.seen = 1

    def register(self) -> Request:
        """A good one."""
        members = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [KEY.public().to_jwk()]}}
        return wire.document(members, *wire.headers(bearer(self.token)), path="/register")

    def state(self) -> Any:
        async def read() -> Any:
            return await self.server.store.version(), await self.server.store.initial_access_tokens.list()

        return self.runner.run(read())

    def try_out(self, request: Request) -> str:
        """What every answer must be, and its one record: the reason's code, or the outcome."""
        before = self.state()
        reply = self.ask(request)
        assert reply.headers["content-type"] == "application/json", reply
        assert reply.headers["cache-control"] == "no-store", reply
        records = [
            json.loads(row.record) for row in self.runner.run(self.server.store.audit_log.export(after=self.seen))
        ]
        assert len(records) == 1, records
        self.seen += 1
        (record,) = records
        if reply.status in {200, 201}:
            self._check_told(json.loads(reply.body))
            assert record["outcome"] in {"registered", "replaced"}, record
            return str(record["outcome"])
        self._check_refused(reply, record)
        assert self.state() == before, "what is refused stores nothing, and uses nothing up"
        return str(record["reason"])

    def _check_told(self, told: dict[str, Any]) -> None:
        """It is what is stored, and no wider than the token lets in."""
        record = self.runner.run(self.server.store.clients.find(told["client_id"]))
        assert record is not None
        assert set(told.get("scope", "").split()) <= {"read", "write"}, told
        assert (record.introspects, record.resources, record.profile, record.enabled) == ((), (), None, True)
        assert told["registration_client_uri"] == f"{ISSUER}/register/{told['client_id']}"
        assert not any("d" in key or "k" in key for key in told.get("jwks", {"keys": []})["keys"])

    @staticmethod
    def _check_refused(reply: Reply, record: dict[str, Any]) -> None:
        assert reply.status in STATUSES, reply
        assert len(reply.body) <= MAX_ERROR, reply
        assert set(json.loads(reply.body)) == {"error", "error_description", "error_uri", "trace_id"}, reply
        assert (record["outcome"], record["reason"] in CODES) == ("refused", True), record

    def serve_next(self) -> None:
        """Whatever came before, a good client is registered."""
        assert self.try_out(self.register()) == "registered"
        super().serve_next()


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with Desk() as opened:
        yield opened


@in_both_profiles
def test_registration_answers_everything(desk: Desk, profile: settings) -> None:
    """Attack catalogue, T9: no 5xx, one record, nothing stored by a refusal; the next good registration is taken."""
    seen = Counter[str]()

    @settings(profile, max_examples=max(375, profile.max_examples // 4))  # each is three requests
    @given(data=st.data())
    def holds(data: st.DataObject) -> None:
        seen[desk.try_out(data.draw(registrations(desk.token, desk.client_id, desk.access_token)))] += 1
        desk.serve_next()

    holds()
    print(sorted(seen.items()))
    assert seen["registered"] + seen["replaced"] >= sum(seen.values()) / 20, f"too few got through: {seen}"
    assert len(seen) >= 9, f"the examples reach too few reasons: {sorted(seen)}"
