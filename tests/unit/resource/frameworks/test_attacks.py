"""Table T13 by number, on each face of the guard."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.unit.resource.frameworks.faces import FACES, Face
from tests.unit.resource.frameworks.rows import KEYS, OPTIONS, ROWS, STRANGER, Row, signed
from tests.unit.resource.listening import ListeningIssuer, listening

from affiant.resource import Guard


@pytest.fixture(scope="module")
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as issuer:
        issuer.keys = KEYS
        yield issuer


@pytest.fixture(scope="module")
def guard(issuer: ListeningIssuer) -> Guard:
    """One that has its keys, for what no row changes."""
    return issuer.guard(**OPTIONS)


@pytest.fixture(params=list(FACES.values()), ids=list(FACES))
def face(request: pytest.FixtureRequest) -> Face:
    found: Face = request.param
    return found


@pytest.mark.attack(249, 251, 252, 256, 257, 258, 265)
@pytest.mark.parametrize("row", ROWS)
async def test_verdict(row: Row, face: Face, guard: Guard, issuer: ListeningIssuer) -> None:
    asked = row.ask(issuer)
    async with face(guard) as call:
        row.judge(asked, await call(asked))


@pytest.mark.attack(254)
async def test_unknown_keys_cost_few_fetches(face: Face, issuer: ListeningIssuer) -> None:
    """50 tokens with keys that the issuer does not have; a valid token passes all the time."""
    good, before = signed(issuer), issuer.count("/jwks")
    async with face(issuer.guard(**OPTIONS)) as call:
        for n in range(50):
            assert (await call(signed(issuer, key=replace(STRANGER, kid=str(n))))).status == 401
            assert n % 20 or (await call(good)).status == 200
    assert issuer.count("/jwks") <= before + 4


@pytest.mark.attack(260)
async def test_a_token_does_not_choose_its_issuer(face: Face, issuer: ListeningIssuer) -> None:
    with listening() as trap:
        async with face(issuer.guard(**OPTIONS)) as call:
            for claims in ({}, {"iss": trap.url}):
                header = {"jku": f"{trap.url}/jwks", "jwk": trap.keys[0].public().to_jwk(), "x5u": f"{trap.url}/x"}
                assert (await call(signed(issuer, header, key=trap.keys[0], **claims))).status == 401
        assert trap.requests == []


@pytest.mark.attack(266)
async def test_refusal_is_logged_once_without_the_token(
    face: Face, guard: Guard, issuer: ListeningIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    asked = signed(issuer, exp=1)
    async with face(guard) as call:
        assert (await call(signed(issuer))).status == 200
        with caplog.at_level(logging.DEBUG, logger="affiant"):
            assert (await call(asked)).status == 401
    assert [record.levelname for record in caplog.records if record.name.startswith("affiant")] == ["INFO"]
    assert asked.headers[0][1].rpartition(".")[2] not in caplog.text
