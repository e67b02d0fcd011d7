"""The admin API against its own description: whatever is sent, by whomever, the answer is one that was published."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, checks
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks as openapi_checks
from tests.attacks.callers import ADMIN, NOBODY, ROLES, hire
from tests.fuzz.house import House

from affiant.testing import bearer

CHECKS: list[Any] = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
]


@dataclass
class Office(House):
    """The house, with a client of each role of the admin API."""

    tokens: dict[str, str] = field(default_factory=dict)

    async def _open(self) -> None:
        await super()._open()
        await hire(self.server)

    def authorization(self, who: str) -> dict[str, str]:
        if who == NOBODY:
            return {}
        if who not in self.tokens:
            self.tokens[who] = self.runner.run(self.server.token(who, resource=ADMIN))["access_token"]
        return bearer(self.tokens[who])

    def get(self, path: str, who: str) -> httpx2.Response:
        return self.runner.run(self.server.http.get(path, headers=self.authorization(who)))

    def check(self, case: Case[Any], who: str) -> None:
        sent = case.as_transport_kwargs(base_url=ADMIN, headers=self.authorization(who))
        sent.pop("cookies", None)
        answer = self.runner.run(self.server.http.request(**sent))
        if answer.status_code == 401 and who != NOBODY:
            # It revoked its own token, as it may: the next one is issued later.
            self.tokens.clear()
            self.server.clock.now += 2
        assert answer.status_code == 401 or who != NOBODY
        case.validate_response(answer, checks=CHECKS)


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    with Office() as opened:
        yield opened


def _fuzz(office: Office, examples: int) -> None:
    described = office.get("/admin/api/openapi.json", "viewer").json()
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
            for who in (NOBODY, *ROLES):
                office.check(case, who)

        ask()


@pytest.mark.parametrize("examples", [4, pytest.param(60, marks=pytest.mark.soak)])
def test_answers_match_openapi(office: Office, examples: int) -> None:
    """No 5xx, no status, type or document that the OpenAPI description does not have, whoever asks."""
    _fuzz(office, examples)
