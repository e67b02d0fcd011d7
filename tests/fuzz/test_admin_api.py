"""The admin API against its own description: whatever is sent, by whomever, the answer is one that was published."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, checks
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks as openapi_checks
from starlette.testclient import TestClient
from tests.attacks.bench import assertion, form
from tests.attacks.callers import ADMIN, NOBODY, ROLES

from affiant.server import app
from affiant.server.admin.roles import SCOPES
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import clients, directory
from affiant.server.request.limits import Limits, Rate, Rates
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Api, Client
from affiant.testing import ISSUER, KEY, NOW

CHECKS: list[Any] = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
]


@dataclass
class Running:
    """The server, its clock, and who is known to it."""

    http: TestClient
    store: MemoryStore
    now: list[float]
    serial: int = 0
    tokens: dict[str, str] = field(default_factory=dict)

    def register(self, who: str) -> None:
        made = clients.build(
            Client(who, "private_key_jwt", scope=(f"admin.{who}",), resources=(ADMIN,)),
            master_key=MasterKey.from_bytes(bytes(32)),
            now=NOW,
            keys=(KEY.public(),),
        )
        self._call(self.store.clients.add, made.client)

    def authorization(self, who: str) -> dict[str, str]:
        if who == NOBODY:
            return {}
        if who not in self.tokens:
            self.serial += 1
            times = {"iat": int(self.now[0]), "exp": int(self.now[0]) + 60}
            text = assertion(iss=who, sub=who, jti=f"fuzz{self.serial}", **times)
            reply = self.http.post("/token", data=form(text, resource=ADMIN))
            assert reply.status_code == 200, reply.text
            self.tokens[who] = str(reply.json()["access_token"])
        return {"Authorization": f"Bearer {self.tokens[who]}"}

    def judge(self, case: Case[Any], who: str) -> None:
        sent = case.as_transport_kwargs(base_url=ADMIN, headers=self.authorization(who))
        sent.pop("cookies", None)
        answer = self.http.request(**sent, follow_redirects=False)
        if answer.status_code == 401 and who != NOBODY:
            # It revoked its own token, as it may: the next one is issued later.
            self.tokens.clear()
            self.now[0] += 2
        assert answer.status_code == 401 or who != NOBODY
        case.validate_response(answer, checks=CHECKS)

    def _call(self, work: Callable[..., Any], *arguments: Any) -> Any:
        assert self.http.portal is not None
        return self.http.portal.call(work, *arguments)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    now, store = [float(NOW)], MemoryStore()
    built = app.build(
        issuer=ISSUER,
        store=store,
        master_key=MasterKey.from_bytes(bytes(32)),
        limits=Limits(Rates(failures=Rate(0, 1.0), tokens=Rate(0, 1.0)), key=bytes(32)),
        clock=lambda: now[0],
    )
    with pytest.MonkeyPatch.context() as patch, TestClient(built, base_url=ISSUER) as http:
        patch.setattr(directory, "FRESH_SECONDS", 0.0)
        made = Running(http, store, now)
        api = Api(ADMIN, "admin", SCOPES, is_default=False, created_at=NOW)
        made._call(store.apis.add, api)
        for who in ROLES:
            made.register(who)
        yield made


def _fuzz(running: Running, who: str, examples: int) -> None:
    described = running.http.get("/admin/api/openapi.json", headers=running.authorization("viewer")).json()
    assert described["openapi"].startswith("3.1")
    schema = schemathesis.openapi.from_dict(described)
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: Any) -> None:
            running.judge(case, who)

        ask()


@pytest.mark.parametrize("who", [NOBODY, *ROLES])
def test_answers_match_openapi(running: Running, who: str) -> None:
    """No 5xx, no status, type or document that the OpenAPI description does not have."""
    _fuzz(running, who, examples=2 if who == NOBODY else 8)


@pytest.mark.soak
@pytest.mark.parametrize("who", [NOBODY, *ROLES])
def test_answers_match_openapi_soak(running: Running, who: str) -> None:
    _fuzz(running, who, examples=60)
