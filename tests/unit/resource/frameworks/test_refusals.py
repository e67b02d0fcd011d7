"""What each face answers: a refusal of the guard, to the letter, and the next nonce with a response of the application."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.unit.resource.frameworks.bound import Bound
from tests.unit.resource.frameworks.faces import FACES, HOST, PATH, Asked, Face, environ
from tests.unit.resource.frameworks.rows import shown, signed
from tests.unit.resource.listening import API, NOW, ListeningIssuer, listening

from affiant.oauth.binding.dpop import NONCE_SECONDS, Nonces
from affiant.resource import Denied, Guard, ResourceMetadata

NONCE_KEY = b"a key of sixteen"
Make = Callable[[ListeningIssuer], Guard]


@pytest.fixture(scope="module")
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def guards(issuer: ListeningIssuer) -> dict[str, Guard]:
    """Each has its keys after its first request."""
    return {
        "plain": issuer.guard(),
        "nonces": issuer.guard(nonce_key=NONCE_KEY, dpop="required", url=HOST),
        "talkative": issuer.guard(development=True, metadata=ResourceMetadata(scopes=("read",))),
        "cut off": Guard(f"{issuer.url}/nothing", audience=API, revocations="off"),
    }


@pytest.fixture(params=list(FACES.values()), ids=list(FACES))
def face(request: pytest.FixtureRequest) -> Face:
    found: Face = request.param
    return found


def _bound(issuer: ListeningIssuer, **more: Any) -> Asked:
    return Asked(list(Bound(issuer, scope="read").headers(f"{HOST}{PATH}", **more).items()))


REFUSED: dict[str, tuple[str, int, Callable[[ListeningIssuer], Asked]]] = {
    "no token": ("plain", 401, lambda _: Asked()),
    "scope": ("plain", 403, lambda issuer: signed(issuer, scope="other")),
    "expired": ("plain", 401, lambda issuer: signed(issuer, exp=1)),
    "in the query, too": ("plain", 400, lambda issuer: signed(issuer)._replace(query="access_token=x")),
    "cut off": ("cut off", 503, lambda issuer: signed(issuer, iss=f"{issuer.url}/nothing")),
    "no nonce": ("nonces", 401, _bound),
    "bearer": ("nonces", 401, signed),
    "reason": ("talkative", 401, lambda issuer: signed(issuer, exp=1)),
    "metadata": ("talkative", 403, lambda issuer: signed(issuer, scope="other")),
}


@pytest.mark.rfc(6750, "3")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", REFUSED)
async def test_refusal_is_the_guard_s_own(
    name: str, method: str, face: Face, guards: dict[str, Guard], issuer: ListeningIssuer
) -> None:
    kind, status, ask = REFUSED[name]
    guard, asked = guards[kind], ask(issuer)._replace(method=method)
    async with face(guard) as call:
        answer = await call(asked)
    if method == "HEAD" and answer.status == 405:
        return  # this framework has no HEAD where it has GET
    expected = guard.check_environ(environ(asked), need="read")
    assert isinstance(expected, Denied)
    assert (answer.status, expected.status) == (status, status)
    assert answer.headers.items() >= {name.lower(): value for name, value in expected.headers.items()}.items()
    assert answer.body == (expected.body if method == "GET" else b"")


@pytest.mark.rfc(9449, "8.2")
async def test_next_nonce_is_in_the_response(face: Face, guards: dict[str, Guard], issuer: ListeningIssuer) -> None:
    guard = guards["nonces"]
    old = Nonces(NONCE_KEY).current(NOW)
    async with face(guard) as call:
        assert "dpop-nonce" not in (await call(_bound(issuer, nonce=old))).headers
        issuer.now = NOW + NONCE_SECONDS
        try:
            answer = await call(_bound(issuer, nonce=old))
        finally:
            issuer.now = NOW
    assert answer.status == 200
    assert answer.headers["dpop-nonce"] == Nonces(NONCE_KEY).current(NOW + NONCE_SECONDS)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.rfc(9449, "11.1")
async def test_proof_is_good_for_one_request(face: Face, guards: dict[str, Guard], issuer: ListeningIssuer) -> None:
    asked = _bound(issuer, nonce=Nonces(NONCE_KEY).current(NOW))
    async with face(guards["nonces"]) as call:
        assert [(await call(asked)).status, (await call(asked)).status] == [200, 401]


async def test_only_the_token_counts(face: Face, guards: dict[str, Guard], issuer: ListeningIssuer) -> None:
    """Attack: what the guard keeps for one request serves the next."""
    async with face(guards["plain"]) as call:
        statuses = [(await call(asked)).status for asked in (signed(issuer), Asked(), signed(issuer), shown("x"))]
    assert statuses == [200, 401, 200, 401]
