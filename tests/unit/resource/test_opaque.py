"""Opaque tokens: the issuer is asked about each, and its answer is judged as the claims of a JWT are."""

import asyncio
import threading
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest
from tests.unit.resource import issuer as issuers
from tests.unit.resource.issuer import API, ISSUER, NOW, Check, eventually, reason_of
from tests.unit.resource.listening import listening

from affiant.client import Assertion, SecretBasic, SecretPost
from affiant.errors import Rejected, RemoteError
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.oauth import introspection
from affiant.oauth.binding import dpop
from affiant.resource import ClaimRules, Guard, Introspection, Proved
from affiant.resource import Issuer as Trusted
from affiant.resource.issuer import introspect

TOKEN = b"Bearer orders_at_0.x"


class Issuer(issuers.Issuer):
    """It knows the tokens in `known`; its answers are JSON unless it signs."""

    def __init__(self) -> None:
        super().__init__()
        self.endpoints = {"introspection_endpoint": f"{ISSUER}/introspect"}
        self.asked = list[httpx2.Request]()
        self.known = {TOKEN[7:].decode(): self.described()}
        self.signs = False
        self.gate: asyncio.Event | None = None

    @staticmethod
    def described(**changes: Any) -> dict[str, Any]:
        members = {
            "active": True,
            "client_id": "billing",
            "aud": API,
            "exp": NOW + 600,
            "scope": "orders.read",
            "token_type": "Bearer",
        }
        return {name: value for name, value in {**members, **changes}.items() if value is not None}

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        if not self.is_up:
            raise httpx2.ConnectError("down")
        members = self.known.get(parse_qs(request.content.decode())["token"][0], {"active": False})
        if self.gate is not None:
            await self.gate.wait()
        if self.signs:
            text = await introspection.build(members, issuer=ISSUER, audience="api", now=self.now, signer=self.keys[0])
            return httpx2.Response(200, text=text, headers={"content-type": introspection.MEDIA_TYPE})
        return httpx2.Response(200, json=members)

    def guard(self, *, auth: Any = None, **options: Any) -> Guard:
        asking = Introspection("api", auth or SecretBasic("s3cret"), **{"opaque": True, **options})
        return super().guard(introspection=asking, revocations="off")


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


async def test_answer_describes_the_caller(issuer: Issuer, check: Check) -> None:
    """RFC 7662 requires neither jti nor sub: without a user, the client is the subject."""
    for _ in range(2):
        caller = await check(issuer.guard(), [TOKEN], need="orders.read")
        assert (caller.client_id, caller.sub, caller.issuer) == ("billing", "billing", ISSUER)
    assert len(issuer.asked) == 2
    issuer.known = {TOKEN[7:].decode(): issuer.described(sub="u1", jti="7", iss=ISSUER, iat=NOW)}
    caller = await check(issuer.guard(), [TOKEN])
    assert (caller.sub, caller.token_id) == ("u1", "7")
    with pytest.raises(Rejected) as refusal:
        await check(issuer.guard(), [TOKEN], need="orders.write")
    assert refusal.value.reason is Reason.SCOPE_INSUFFICIENT


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": "https://other.example"}, Reason.TOKEN_AUDIENCE),
        ({"aud": None}, Reason.TOKEN_AUDIENCE),
        ({"iss": "https://evil.example"}, Reason.TOKEN_ISSUER),
        ({"exp": None}, Reason.TOKEN_CLAIM),
        ({"exp": "soon"}, Reason.TOKEN_CLAIM),
        ({"exp": NOW - 31}, Reason.TOKEN_EXPIRED),
        ({"nbf": NOW + 31}, Reason.TOKEN_NOT_YET_VALID),
        ({"iat": NOW + 31}, Reason.TOKEN_NOT_YET_VALID),
        ({"client_id": None}, Reason.TOKEN_CLAIM),
        ({"client_id": 5}, Reason.TOKEN_CLAIM),
        ({"sub": 5}, Reason.TOKEN_CLAIM),
        ({"scope": ["orders.read", 5]}, Reason.TOKEN_CLAIM),
        ({"scope": 5}, Reason.TOKEN_CLAIM),
        ({"token_type": "refresh_token"}, Reason.TOKEN_TYPE),
        ({"token_type": 5}, Reason.TOKEN_TYPE),
        ({"token_use": "refresh_token"}, Reason.TOKEN_TYPE),
        ({"token_use": "id"}, Reason.TOKEN_TYPE),
        ({"cnf": {"kid": "x"}}, Reason.TOKEN_BINDING),
        ({"cnf": {}}, Reason.TOKEN_BINDING),
        ({"cnf": None, "token_type": "DPoP"}, Reason.TOKEN_BINDING),
        ({"active": False}, Reason.TOKEN_REVOKED),
    ],
)
async def test_answer_is_judged(issuer: Issuer, changes: dict[str, Any], reason: Reason) -> None:
    issuer.known = {TOKEN[7:].decode(): issuer.described(**changes)}
    guard = issuer.guard(cache_seconds=30)
    for _ in range(2):
        assert await reason_of(guard, TOKEN) is reason


@pytest.mark.attack(265)
async def test_bound_token_is_no_bearer_token(issuer: Issuer, check: Check) -> None:
    """Attack: a stolen opaque token that its issuer has bound to a key, or to a certificate."""
    key, text, url = dpop.ProofKey.of(keys.generate("ES256")), TOKEN[7:].decode(), f"{API}/"
    for cnf in ({"jkt": key.thumbprint}, {"x5t#S256": "x"}):
        issuer.known = {text: issuer.described(cnf=cnf)}
        guard = issuer.guard(cache_seconds=30)
        for _ in range(2):  # the second answer is a cached one
            assert await reason_of(guard, TOKEN) is Reason.TOKEN_BINDING
    issuer.known = {text: issuer.described(cnf={"jkt": key.thumbprint}, token_type="DPoP")}
    guard = issuer.guard(cache_seconds=30)
    for owner, reason in ((dpop.ProofKey.of(keys.generate("ES256")), Reason.TOKEN_BINDING), (key, None)):
        proof = dpop.build(owner, method="GET", url=url, now=NOW, access_token=text)
        found: Reason | None = None
        try:
            await check(guard, [b"DPoP " + TOKEN[7:]], proved=Proved("GET", url, (proof.encode(),)))
        except Rejected as refusal:
            found = refusal.reason
        assert found is reason


@pytest.mark.attack(261)
async def test_cached_answer_ends(issuer: Issuer, check: Check) -> None:
    """After its seconds, and not later than the token; and it is for one token."""
    text = TOKEN[7:].decode()
    issuer.known[text] = issuer.described(exp=NOW + 20)
    guard = issuer.guard(cache_seconds=10)
    for _ in range(3):
        await check(guard, [TOKEN])
    assert len(issuer.asked) == 1
    issuer.known.pop(text)
    issuer.now += 9
    await check(guard, [TOKEN])
    issuer.now += 1
    assert await reason_of(guard, TOKEN) is Reason.TOKEN_REVOKED
    assert await reason_of(guard, TOKEN) is Reason.TOKEN_REVOKED
    assert len(issuer.asked) == 2
    assert await reason_of(guard, TOKEN + b"y") is Reason.TOKEN_REVOKED
    issuer.known[text] = issuer.described(exp=NOW + 20)
    issuer.now = NOW + 20
    asked = len(issuer.asked)
    for _ in range(2):
        await check(guard, [TOKEN])  # within the leeway, and cached for no second
    assert len(issuer.asked) == asked + 2
    issuer.now = NOW + 50
    assert await reason_of(guard, TOKEN) is Reason.TOKEN_EXPIRED


async def test_many_at_once_ask_once(issuer: Issuer) -> None:
    issuer.gate, guard = asyncio.Event(), issuer.guard(cache_seconds=10)
    tasks = [asyncio.create_task(reason_of(guard, TOKEN)) for _ in range(50)]
    await eventually(lambda: bool(issuer.asked))
    issuer.gate.set()
    assert set(await asyncio.gather(*tasks)) == {None}
    assert len(issuer.asked) == 1


async def test_invented_tokens_need_no_place_of_good_ones(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspect, "MAX_REMEMBERED", 3)
    guard = issuer.guard(cache_seconds=30)
    await guard.check([TOKEN])
    for number in range(9):
        assert await reason_of(guard, b"Bearer invented-%d" % number) is Reason.TOKEN_REVOKED
    await guard.check([TOKEN])
    assert len(issuer.asked) == 10
    introspected = issuers.trusted(guard).introspected
    assert (len(introspected._described), len(introspected._inactive)) == (1, 3)


async def test_jwt_is_never_taken_for_opaque(issuer: Issuer) -> None:
    """Attack: a JWT is damaged until the guard cannot read it, and the issuer can. It is not asked."""
    guard, good = issuer.guard(), issuer.token()
    for damaged in (good + b"=", b"Bearer a.b.c", b"Bearer a.b.c.d.e", b"Bearer " + b"x" * 8193):
        issuer.known[damaged[7:].decode()] = issuer.described()
        assert await reason_of(guard, damaged) is Reason.TOKEN_MALFORMED
    none = compact.sign({"typ": "at+jwt"}, {"iss": ISSUER}, keys.generate("ES256")).encode()
    assert await reason_of(guard, b"Bearer " + none) is Reason.TOKEN_KEY
    assert not issuer.asked
    assert await reason_of(issuer.guard(opaque=False), TOKEN) is Reason.TOKEN_MALFORMED
    assert not issuer.asked


async def test_jwt_is_asked_about_once(issuer: Issuer) -> None:
    """The issuer says of a JWT whether it is active, and the guard what is in it."""
    token = issuer.token()
    issuer.known[token[7:].decode()] = {"active": True}
    assert await reason_of(issuer.guard(), token) is None
    assert len(issuer.asked) == 1


async def test_only_one_issuer_is_asked(issuer: Issuer) -> None:
    other = Trusted("https://other.example", introspection=Introspection("x", SecretBasic("y")))
    mine = Trusted(ISSUER, introspection=Introspection("api", SecretBasic("s3cret"), opaque=True))
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(issuer))
    guard = Guard([other, mine], audience=API, http=http, clock=lambda: NOW)
    assert (await guard.check([TOKEN])).issuer == ISSUER
    assert [str(request.url) for request in issuer.asked] == [f"{ISSUER}/introspect"]


async def test_issuer_without_an_answer_is_no_verdict(issuer: Issuer, check: Check) -> None:
    guard = issuer.guard(cache_seconds=30)
    issuer.is_up = False
    with pytest.raises(RemoteError):
        await check(guard, [TOKEN])
    issuer.is_up = True
    await check(guard, [TOKEN])


async def test_answer_may_have_to_be_signed(issuer: Issuer) -> None:
    with pytest.raises(RemoteError, match="not signed"):
        await issuer.guard(signed=True).check([TOKEN])
    issuer.signs = True
    assert (await issuer.guard(signed=True).check([TOKEN])).client_id == "billing"


@pytest.mark.parametrize("auth", [Assertion(keys.generate("ES256")), SecretPost("s3cret"), SecretBasic("s3cret")])
async def test_question_is_authenticated(issuer: Issuer, auth: Any) -> None:
    await issuer.guard(auth=auth).check([TOKEN])
    (request,) = issuer.asked
    form = parse_qs(request.content.decode())
    assert bool({"client_assertion", "client_secret"} & form.keys()) or "authorization" in request.headers
    assert TOKEN[7:].decode() not in str(request.url)


async def test_rules_of_the_issuer_count_for_its_answers(issuer: Issuer) -> None:
    """As of Keycloak, which describes a refresh token as active, too."""
    rules = ClaimRules(client_id=("azp", "client_id"), required={"typ": ("Bearer",)})
    asking = Introspection("api", SecretBasic("s3cret"), opaque=True)
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(issuer))
    trusted = Trusted(ISSUER, claims=rules, clients={"billing": "all"}, introspection=asking)
    guard = Guard(trusted, audience=API, http=http, clock=lambda: NOW)
    for typ, reason in (("Bearer", None), ("Refresh", Reason.TOKEN_CLAIM)):
        issuer.known = {TOKEN[7:].decode(): issuer.described(typ=typ, azp="billing")}
        assert await reason_of(guard, TOKEN) is reason


def test_threads_and_event_loops_share_connections() -> None:
    """Without `http`: the thread of the guard asks, whatever loops come and go."""
    with listening() as issuer:
        issuer.metadata["introspection_endpoint"] = f"{issuer.url}/introspect"
        issuer.documents["/introspect"] = Issuer.described()
        asking = Introspection("api", SecretBasic("s3cret"), opaque=True)
        guard = Guard(issuer.url, audience=API, introspection=asking, clock=lambda: NOW, revocations="off")
        for _ in range(3):
            assert guard.check_sync([TOKEN]).client_id == "billing"
            assert asyncio.run(guard.check([TOKEN])).client_id == "billing"
        found = list[str]()
        threads = [threading.Thread(target=lambda: found.append(guard.check_sync([TOKEN]).client_id)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == ["billing"] * 4
        assert issuer.count("/introspect") >= 7
        assert len(issuer.peers["/introspect"]) <= 4  # connections, for as many questions at once as there were


async def test_answer_about_a_jwt_names_the_client_where_rfc_7662_does(issuer: Issuer) -> None:
    """The token of this issuer has it in another claim."""
    rules = ClaimRules(client_id=("azp",), jti=("uti",), waived=frozenset({"jti"}))
    trusted = Trusted(ISSUER, claims=rules, introspection=Introspection("api", SecretBasic("s3cret")))
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(issuer))
    guard = Guard(trusted, audience=API, http=http, clock=lambda: NOW)
    claims = {"iss": ISSUER, "aud": API, "sub": "c", "azp": "billing", "iat": NOW, "exp": NOW + 60, "uti": "u"}
    text = compact.sign({"typ": "at+jwt"}, claims, issuer.keys[0])
    issuer.known[text] = {"active": True, "client_id": "billing", "jti": "another", "azp": "billing"}
    assert await reason_of(guard, b"Bearer " + text.encode()) is None
    issuer.known[text] = {"active": True, "client_id": "other"}
    with pytest.raises(RemoteError, match="another token"):
        await guard.check([b"Bearer " + text.encode()])
