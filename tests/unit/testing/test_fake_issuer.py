import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import pytest
from tests.unit.resource.listening import listening, until

from affiant.client import SecretBasic
from affiant.errors import Rejected, RemoteError
from affiant.errors.reasons import Reason
from affiant.jose import keys
from affiant.jose.key_set import KeySet
from affiant.oauth.parameters.need import Needed
from affiant.oauth.resource_request import Proved
from affiant.resource import Caller, Guard, Introspection, Issuer, presets
from affiant.resource.issuer.worker import worker
from affiant.testing import ABSENT, FakeIssuer

ISSUER, API = "https://as.example/realms/one", "https://api.example"

TakeOver = Callable[..., FakeIssuer]


def no_network() -> NoReturn:
    raise AssertionError("a test with a fake issuer connects to nothing")


@pytest.fixture
def guard() -> Guard:
    """As an API makes it: its issuer does not exist."""
    return Guard(ISSUER, audience=API)


@pytest.fixture
def issuer(guard: Guard, affiant_issuer: TakeOver) -> FakeIssuer:
    return affiant_issuer(guard)


def reason_of(guard: Guard, token: str, need: Needed = ()) -> Reason | None:
    try:
        guard.check_sync([f"Bearer {token}".encode()], need=need)
    except Rejected as refusal:
        return refusal.reason
    return None


def test_token_is_of_the_client(guard: Guard, issuer: FakeIssuer) -> None:
    caller = guard.check_sync([f"Bearer {issuer.token('a b', client_id='billing', team=7)}".encode()], need="a")
    assert (caller.client_id, caller.sub, caller.scopes) == ("billing", "billing", frozenset("ab"))
    assert caller.claims["team"] == 7


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"scope": "orders.read"}, None),
        ({"scope": "orders.write"}, Reason.SCOPE_INSUFFICIENT),
        ({"aud": "https://other.example"}, Reason.TOKEN_AUDIENCE),
        ({"iss": "https://other.example"}, Reason.TOKEN_ISSUER),
        ({"exp": 1, "iat": 0}, Reason.TOKEN_EXPIRED),
        ({"exp": ABSENT}, Reason.TOKEN_CLAIM),
        ({"cnf": {"jkt": "another"}}, Reason.TOKEN_BINDING),
        ({"header": {"typ": "JWT"}}, Reason.TOKEN_TYPE),
        ({"key": keys.generate("ES256")}, Reason.TOKEN_KEY),
    ],
)
def test_changes_decide(guard: Guard, issuer: FakeIssuer, claims: dict[str, object], reason: Reason | None) -> None:
    assert reason_of(guard, issuer.token(**claims), need="orders.read") == reason  # type: ignore[arg-type]


def test_expired_token_is_expired(guard: Guard, issuer: FakeIssuer) -> None:
    assert reason_of(guard, issuer.expired("a"), need="a") == Reason.TOKEN_EXPIRED


def test_token_expires(guard: Guard, issuer: FakeIssuer) -> None:
    token = issuer.token()
    assert reason_of(guard, token) is None
    issuer.clock.advance(600 + 30)
    assert reason_of(guard, token) == Reason.TOKEN_EXPIRED
    assert reason_of(guard, issuer.token()) is None


async def test_token_is_checked_in_an_event_loop(guard: Guard, issuer: FakeIssuer) -> None:
    scope = {"type": "http", "headers": [(b"authorization", issuer.bearer(scope="a")["authorization"].encode())]}
    assert isinstance(await guard.check_scope(scope, need="a"), Caller)


def test_each_event_loop_gets_answers(guard: Guard, issuer: FakeIssuer) -> None:
    for _ in range(3):
        issuer.rotate()
        caller = asyncio.run(guard.check([issuer.bearer()["authorization"].encode()]))
        assert caller.client_id == "client"


def test_threads_get_answers(guard: Guard, issuer: FakeIssuer) -> None:
    start = threading.Barrier(8)

    def check(_: int) -> Reason | None:
        start.wait()
        return reason_of(guard, issuer.token())

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(check, range(8))) == {None}


@pytest.mark.parametrize("policy", ["optional", "required"])
def test_revoked_token_is_refused_at_once(policy: str, affiant_issuer: TakeOver) -> None:
    guard = Guard(ISSUER, audience=API, revocations=policy)
    issuer = affiant_issuer(guard)
    one, other = issuer.token(), issuer.token()
    assert [reason_of(guard, token) for token in (one, other)] == [None, None]
    issuer.revoke(one)
    assert [reason_of(guard, token) for token in (one, other)] == [Reason.TOKEN_REVOKED, None]


def test_revocation_before_the_first_request_counts(guard: Guard, issuer: FakeIssuer) -> None:
    token = issuer.token()
    issuer.revoke(token)
    assert reason_of(guard, token) == Reason.TOKEN_REVOKED


def test_revoked_client_may_come_again(guard: Guard, issuer: FakeIssuer) -> None:
    before, other = issuer.token(client_id="billing"), issuer.token(client_id="shop")
    issuer.revoke(client_id="billing")
    issuer.clock.advance(5)
    after = issuer.token(client_id="billing")
    assert [reason_of(guard, token) for token in (before, other, after)] == [Reason.TOKEN_REVOKED, None, None]


@pytest.mark.parametrize("client", [None, "billing"])
def test_key_of_a_client_is_revoked(guard: Guard, issuer: FakeIssuer, client: str | None) -> None:
    token, other = (issuer.token(client_id="billing", client_key=name) for name in ("one", "other"))
    issuer.revoke(client_key="one", client_id=client)
    assert [reason_of(guard, each) for each in (token, other)] == [Reason.TOKEN_REVOKED, None]


@pytest.mark.parametrize("asked", [{}, {"token": ""}, {"client_id": ""}])
def test_revocation_of_nothing_is_an_error(issuer: FakeIssuer, asked: dict[str, str]) -> None:
    with pytest.raises((ValueError, Rejected)):
        issuer.revoke(**asked)


def test_rotated_keys_are_found(guard: Guard, issuer: FakeIssuer) -> None:
    before = issuer.token()
    assert reason_of(guard, before) is None
    issuer.rotate()
    assert [reason_of(guard, token) for token in (before, issuer.token())] == [None, None]


def test_withdrawn_key_is_refused_when_the_guard_asks_again(guard: Guard, issuer: FakeIssuer) -> None:
    before = issuer.token(exp=int(issuer.clock) + 3600)
    assert reason_of(guard, before) is None
    issuer.rotate()
    del issuer.keys[0]
    issuer.clock.advance(301)
    assert [reason_of(guard, token) for token in (before, issuer.token())] == [Reason.TOKEN_KEY, None]


def test_guard_knows_what_it_knew_when_the_issuer_is_down(guard: Guard, issuer: FakeIssuer) -> None:
    token = issuer.token()
    assert reason_of(guard, token) is None
    issuer.down()
    assert reason_of(guard, token) is None
    issuer.revoke(token)
    issuer.up()
    assert reason_of(guard, token) == Reason.TOKEN_REVOKED


def test_guard_cannot_check_without_its_issuer(guard: Guard, issuer: FakeIssuer) -> None:
    issuer.down()
    with pytest.raises(RemoteError, match="the fake issuer is down"):
        reason_of(guard, issuer.token())
    issuer.up()
    assert reason_of(guard, issuer.token()) is None


def test_required_revocations_age_while_the_issuer_is_down(affiant_issuer: TakeOver) -> None:
    guard = Guard(ISSUER, audience=API, revocations="required")
    issuer = affiant_issuer(guard)
    token = issuer.token()
    assert reason_of(guard, token) is None
    issuer.down()
    issuer.clock.advance(31)
    with pytest.raises(RemoteError, match="revocations"):
        reason_of(guard, token)
    issuer.up()
    assert reason_of(guard, token) is None


def test_bound_token_comes_with_its_proof(affiant_issuer: TakeOver) -> None:
    guard = Guard(ISSUER, audience=API, dpop="required", nonce_key=b"n" * 32)
    issuer = affiant_issuer(guard)
    nonce = guard.current_nonce()
    assert nonce is not None
    headers = issuer.dpop("GET", f"{API}/orders", client_id="billing", nonce=nonce)
    proved = Proved("GET", f"{API}/orders", (headers["dpop"].encode(),))
    assert guard.check_sync([headers["authorization"].encode()], proved=proved).client_id == "billing"
    with pytest.raises(Rejected) as refusal:
        guard.check_sync([headers["authorization"].encode()], proved=proved)
    assert refusal.value.reason == Reason.DPOP_REPLAYED


class NoStore:
    async def claim(self, name: bytes, *, now: float, until: float) -> bool:
        raise AssertionError("a test leaves nothing in the store of an API")


def test_proofs_of_a_test_are_not_kept(affiant_issuer: TakeOver) -> None:
    guard = Guard(ISSUER, audience=API, replays=NoStore())
    headers = affiant_issuer(guard).dpop("GET", f"{API}/orders")
    proved = Proved("GET", f"{API}/orders", (headers["dpop"].encode(),))
    assert guard.check_sync([headers["authorization"].encode()], proved=proved).client_id == "client"


@pytest.mark.parametrize("signed", [True, False])
def test_introspected_token_is_active_until_it_is_revoked(signed: bool, affiant_issuer: TakeOver) -> None:
    asked = Introspection("orders-api", SecretBasic("s" * 32), signed=signed)
    guard = Guard(ISSUER, audience=API, introspection=asked, revocations="off", http=no_network)
    issuer = affiant_issuer(guard)
    one, other = issuer.token(), issuer.token()
    assert [reason_of(guard, token) for token in (one, other)] == [None, None]
    issuer.revoke(one)
    assert [reason_of(guard, token) for token in (one, other)] == [Reason.TOKEN_REVOKED, None]


def test_guards_of_one_issuer_are_taken_over_together(affiant_issuer: TakeOver) -> None:
    first, second = Guard(ISSUER, audience=API), Guard(ISSUER, audience=f"{API}/admin", algorithms=["EdDSA", "ES256"])
    issuer = affiant_issuer(first, second)
    token, both = issuer.token(), issuer.token(aud=[first.audience, second.audience])
    assert [reason_of(guard, each) for guard in (first, second) for each in (token, both)] == [
        *(None, None),
        *(Reason.TOKEN_AUDIENCE, None),
    ]
    issuer.revoke(both)
    assert [reason_of(guard, both) for guard in (first, second)] == [Reason.TOKEN_REVOKED] * 2


@pytest.mark.parametrize("algorithms", [["RS256"], ["EdDSA", "ES384"], ["ML-DSA-44"]])
def test_keys_are_of_an_algorithm_that_the_guard_accepts(algorithms: list[str], affiant_issuer: TakeOver) -> None:
    guard = Guard(ISSUER, audience=API, algorithms=algorithms)
    issuer = affiant_issuer(guard)
    assert reason_of(guard, issuer.token()) is None
    assert {key.alg for key in issuer.keys} <= set(algorithms)


def test_guard_has_its_own_issuer_back() -> None:
    with listening() as own:
        guard = own.guard(revocations="optional")
        token = own.token().decode().removeprefix("Bearer ")
        assert reason_of(guard, token) is None
        asked = own.count("/jwks")
        with FakeIssuer(guard) as issuer:
            fake = issuer.token()
            assert [reason_of(guard, each) for each in (token, fake)] == [Reason.TOKEN_KEY, None]
        assert reason_of(guard, token) is None
        assert own.count("/jwks") == asked
        assert reason_of(guard, fake) == Reason.TOKEN_KEY


def test_guard_of_the_next_test_knows_nothing_of_this_one(guard: Guard) -> None:
    with FakeIssuer(guard) as issuer:
        token, proved = issuer.token(), issuer.token()
        issuer.revoke(proved)
        assert reason_of(guard, token) is None
    with FakeIssuer(guard) as issuer:
        assert reason_of(guard, token) == Reason.TOKEN_KEY
        assert reason_of(guard, issuer.token()) is None


def test_nothing_runs_on_when_the_test_is_over(guard: Guard) -> None:
    others = tasks()
    with FakeIssuer(guard) as issuer:
        issuer.revoke(client_id="billing")  # the guard follows the revocations now
        followed = tasks() - others
        assert len(followed) == 1
    until(lambda: not followed & tasks())


def tasks() -> set[asyncio.Task[object]]:
    """The requests that the guards' thread makes."""
    return {task for task in asyncio.all_tasks(worker.loop()) if "Followed" in repr(task)}


def test_same_guard_has_one_issuer_in_a_test(guard: Guard, affiant_issuer: TakeOver) -> None:
    assert affiant_issuer(guard) is affiant_issuer(guard)


def test_guards_of_two_issuers_need_two(guard: Guard, affiant_issuer: TakeOver) -> None:
    other = Guard("https://other.example", audience=API)
    with pytest.raises(ValueError, match="the same issuer"):
        affiant_issuer(guard, other)
    first, second = affiant_issuer(guard), affiant_issuer(other)
    assert reason_of(guard, first.token()) is None
    assert reason_of(guard, second.token()) == Reason.TOKEN_KEY
    assert reason_of(other, second.token()) is None


def test_challenge_is_that_of_production(guard: Guard) -> None:
    guard.publish()
    own = guard.deny(Rejected(Reason.TOKEN_MISSING)).headers
    assert "resource_metadata" in own["WWW-Authenticate"]
    with FakeIssuer(guard):
        assert guard.deny(Rejected(Reason.TOKEN_MISSING)).headers == own


def test_every_issuer_of_a_guard_is_taken_over(affiant_issuer: TakeOver) -> None:
    other = "https://OTHER.example/"
    own = {"keys": [keys.generate("ES256").public().to_jwk()]}
    guard = Guard([ISSUER, Issuer(other, jwks=own, reach="https://inner.example")], audience=[API, f"{API}/v2"])
    issuer = affiant_issuer(guard)
    mine, others = issuer.token(), issuer.token(iss=other, aud=f"{API}/v2")
    assert [reason_of(guard, token) for token in (mine, others)] == [None, None]
    issuer.revoke(others)
    assert [reason_of(guard, token) for token in (mine, others)] == [None, Reason.TOKEN_REVOKED]
    assert reason_of(guard, issuer.token(iss="https://third.example")) == Reason.TOKEN_ISSUER


def test_opaque_token_is_what_the_issuer_says(affiant_issuer: TakeOver) -> None:
    asked = Introspection("orders-api", SecretBasic("s" * 32), opaque=True)
    guard = Guard(ISSUER, audience=API, introspection=asked)
    issuer = affiant_issuer(guard)
    token, other = issuer.opaque("a", client_id="billing"), issuer.opaque("b")
    assert [reason_of(guard, each, need="a") for each in (token, other)] == [None, Reason.SCOPE_INSUFFICIENT]
    issuer.revoke(token)
    assert reason_of(guard, token) == Reason.TOKEN_REVOKED


def test_issuer_with_rules_of_its_own_is_taken_over(affiant_issuer: TakeOver) -> None:
    """Its tokens are those of the fake one, of RFC 9068. Which clients may call, and other issuers, stay."""
    jwks = KeySet((keys.generate("ES256").public(),)).to_jwks()
    account = "billing@project.iam.gserviceaccount.com"
    guard = Guard([presets.google(clients={account: "a"}, jwks=jwks), Issuer(ISSUER)], audience=[API, "other"])
    issuer = affiant_issuer(guard)
    caller = guard.check_sync([f"Bearer {issuer.token(client_id=account)}".encode()], need="a")
    assert (caller.client_id, caller.issuer) == (account, "https://accounts.google.com")
    assert reason_of(guard, issuer.token(client_id="stranger")) is Reason.TOKEN_CLAIM
    assert reason_of(guard, issuer.token(client_id=account, iss="https://evil.example")) is Reason.TOKEN_ISSUER
