"""Introspection by the guard: how often it asks, which answers it trusts, and what happens without an answer."""

import asyncio
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest
from starlette.applications import Starlette
from tests.unit.resource import issuer as issuers
from tests.unit.resource.issuer import API, ISSUER, NOW, eventually, reason_of, trusted

from affiant.client import Assertion, OverTls, SecretBasic
from affiant.errors import ConfigError, Rejected, RemoteError, Unreachable
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.oauth import introspection
from affiant.resource import Guard, GuardMiddleware, Introspection
from affiant.resource.issuer import introspect

ME = "orders-api"
MINE = keys.generate("ES256")


class Issuer(issuers.Issuer):
    """With introspection. Every token is active until it is in `ended`."""

    def __init__(self) -> None:
        super().__init__()
        self.endpoints = {"introspection_endpoint": f"{ISSUER}/introspect"}
        self.asked = list[httpx2.Request]()
        self.ended = set[str]()
        self.signs, self.status = True, 200
        self.audience, self.signer = ME, self.keys[0]
        self.changes = dict[str, Any]()
        self.body: str | None = None
        self.content_type: str | None = None
        self.gate: asyncio.Event | None = None

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        if not self.is_up:
            raise httpx2.ConnectError("down")
        claims = compact.parse(parse_qs(request.content.decode())["token"][0]).claims
        active = claims["jti"] not in self.ended and claims["exp"] > self.now
        members = {"active": True, **claims, **self.changes} if active else {"active": False}
        if self.gate is not None:  # the answer is made before, and sent after it
            await self.gate.wait()
        if self.signs:
            body = await introspection.build(
                members, issuer=ISSUER, audience=self.audience, now=self.now, signer=self.signer
            )
            return self._answer(self.body or body, introspection.MEDIA_TYPE)
        return self._answer(self.body or httpx2.Response(200, json=members).text, "application/json")

    def _answer(self, body: str, content_type: str) -> httpx2.Response:
        return httpx2.Response(self.status, text=body, headers={"content-type": self.content_type or content_type})

    def guard(self, *, cache_seconds: float = 0, signed: bool = False, **options: Any) -> Guard:
        asking = Introspection(ME, Assertion(MINE), cache_seconds=cache_seconds, signed=signed)
        return super().guard(**{"introspection": asking, "revocations": "off", **options})


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


async def test_the_question(issuer: Issuer) -> None:
    """The token, a new proof of the API, and the request for a signed answer; nothing of it in the URL."""
    guard, token = issuer.guard(), issuer.token()
    for _ in range(2):
        await guard.check([token])
    used = set()
    for request in issuer.asked:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        assert (request.method, str(request.url)) == ("POST", f"{ISSUER}/introspect")
        assert "authorization" not in request.headers  # the HTTP client's own stays out of it
        assert request.headers["accept"].startswith(introspection.MEDIA_TYPE)
        assert form["token"].encode() == token[7:]
        claims = compact.verify(compact.parse(form["client_assertion"]), MINE.public()).claims
        assert (claims["iss"], claims["aud"]) == (ME, ISSUER)
        used.add(claims["jti"])
    assert len(used) == 2


async def test_by_a_secret(issuer: Issuer) -> None:
    guard = issuer.guard(introspection=Introspection(ME, SecretBasic("s3cret")))
    assert await reason_of(guard, issuer.token()) is None
    assert issuer.asked[0].headers["authorization"].startswith("Basic ")


async def test_rejected_token_causes_no_question(issuer: Issuer) -> None:
    """A request without a token for this API causes no question."""
    stranger = compact.sign({"typ": "at+jwt"}, {"jti": "1", "exp": NOW + 9}, keys.generate("ES256"))
    bound = issuer.token(cnf={"jkt": "x"})
    for token in (b"Bearer x", b"Bearer " + stranger.encode(), issuer.token(aud="https://other.example"), bound):
        assert await reason_of(issuer.guard(), token) is not None
    assert await reason_of(issuer.guard(), issuer.token(exp=NOW - 31)) is Reason.TOKEN_EXPIRED
    assert not issuer.asked


async def test_many_at_once_share_their_questions(issuer: Issuer) -> None:
    """The first request asks; later ones share one more question, since the first may be older than they are."""
    issuer.gate = asyncio.Event()
    guard, token = issuer.guard(), issuer.token()
    first = asyncio.create_task(reason_of(guard, token))
    await eventually(lambda: len(issuer.asked) == 1)
    issuer.ended.add("1")  # acknowledged before the others come
    others = [asyncio.create_task(reason_of(guard, token)) for _ in range(50)]
    await asyncio.sleep(0)
    issuer.gate.set()
    assert await first is None
    assert set(await asyncio.gather(*others)) == {Reason.TOKEN_REVOKED}
    assert len(issuer.asked) == 2


async def test_with_a_cache_many_ask_once(issuer: Issuer) -> None:
    guard, token = issuer.guard(cache_seconds=5), issuer.token()
    for _ in range(2):
        assert set(await asyncio.gather(*(reason_of(guard, token) for _ in range(50)))) == {None}
    assert len(issuer.asked) == 1


async def test_cancelled_request_cancels_no_other(issuer: Issuer) -> None:
    issuer.gate = asyncio.Event()
    guard, token = issuer.guard(cache_seconds=5), issuer.token()
    first, second = (asyncio.create_task(reason_of(guard, token)) for _ in range(2))
    await eventually(lambda: len(issuer.asked) == 1)
    first.cancel()
    issuer.gate.set()
    assert await second is None
    assert len(issuer.asked) == 1


@pytest.mark.parametrize("active", [True, False])
async def test_an_answer_is_used_again_for_so_long(issuer: Issuer, active: bool) -> None:
    guard, token = issuer.guard(cache_seconds=30), issuer.token()
    reason = None if active else Reason.TOKEN_REVOKED
    issuer.ended.update(() if active else ("1",))
    assert await reason_of(guard, token) is reason
    issuer.now += 29
    assert await reason_of(guard, token) is reason
    assert len(issuer.asked) == 1
    issuer.now += 1
    await reason_of(guard, token)
    assert len(issuer.asked) == 2


async def test_a_clock_that_was_set_back(issuer: Issuer) -> None:
    """Makes no answer last longer."""
    guard, token = issuer.guard(cache_seconds=30), issuer.token(iat=NOW - 100)
    await guard.check([token])
    issuer.now -= 20
    issuer.ended.add("1")
    assert await reason_of(guard, token) is Reason.TOKEN_REVOKED


async def test_it_counts_from_the_question(issuer: Issuer) -> None:
    """A revocation while the answer is in flight is not in it."""
    issuer.gate = asyncio.Event()
    guard, token = issuer.guard(cache_seconds=10), issuer.token()
    first = asyncio.create_task(reason_of(guard, token))
    await eventually(lambda: len(issuer.asked) == 1)
    issuer.ended.add("1")
    issuer.signs = False  # or it would be too old to be believed
    issuer.now += 10
    issuer.gate.set()
    assert await first is None
    assert await reason_of(guard, token) is Reason.TOKEN_REVOKED


@pytest.mark.parametrize("members", [{}, {"exp": NOW + 4}, {"exp": "soon"}])
async def test_never_beyond_exp(issuer: Issuer, members: dict[str, Any]) -> None:
    """Neither that of the token nor that in the answer."""
    issuer.changes = members
    guard, token = issuer.guard(cache_seconds=30), issuer.token(exp=NOW + 8)
    assert await reason_of(guard, token) is None
    issuer.now += 8 if not members else 4
    await reason_of(guard, token)
    assert len(issuer.asked) == 2
    issuer.now = NOW + 9
    assert await reason_of(guard, token) is Reason.TOKEN_EXPIRED


async def test_the_cache_is_bounded(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspect, "MAX_REMEMBERED", 2)
    guard, tokens = issuer.guard(cache_seconds=30), [issuer.token(str(n)) for n in range(3)]
    for token in tokens:
        await guard.check([token])
    assert trusted(guard).introspected is not None
    assert len(trusted(guard).introspected._answers) == 2
    await guard.check([tokens[2]])
    assert len(issuer.asked) == 3
    await guard.check([tokens[0]])
    assert len(issuer.asked) == 4


async def test_nothing_is_kept_without_a_cache(issuer: Issuer) -> None:
    guard = issuer.guard()
    await guard.check([issuer.token()])
    assert trusted(guard).introspected is not None
    assert not trusted(guard).introspected._answers
    assert not trusted(guard).introspected._flights._tasks


_LIES: dict[str, dict[str, Any]] = {
    "for another asker": {"audience": "billing-api"},
    "by a stranger": {"signer": keys.generate("ES256")},
    "cut": {"body": "x.y"},
    "not ascii": {"body": "\u00e9"},
    "of another token": {"changes": {"jti": "2"}},
    "of another client's token": {"changes": {"client_id": "d"}},
    "of another issuer's token": {"changes": {"iss": "https://evil.example"}},
    "for another API": {"changes": {"aud": "https://other.example"}},
    "active is a text": {"changes": {"active": "false"}},
    "not signed": {"signs": False},
    "called JSON": {"content_type": "application/json"},
    "no JSON": {"signs": False, "body": "yes"},
    "an array": {"signs": False, "body": "[]"},
    "a member twice": {"signs": False, "body": '{"active":false,"active":true}'},
    "no active": {"signs": False, "body": "{}"},
    "active is 1": {"signs": False, "body": '{"active":1}'},
    "a page": {"signs": False, "content_type": "text/html"},
    "large": {"signs": False, "body": " " * 300_000},
    "refused": {"status": 401},
    "forbidden": {"status": 403},
    "elsewhere": {"status": 302},
    "created": {"status": 201},
    "broken": {"status": 500},
    "down": {"is_up": False},
    "not named": {"endpoints": {}},
}


@pytest.mark.parametrize("how", _LIES)
async def test_untrusted_answer_rejects_the_token(issuer: Issuer, how: str) -> None:
    """It is not cached, and it is no verdict on the token."""
    token = issuer.token()
    guard = issuer.guard(cache_seconds=30, signed=how == "not signed")
    for name, value in _LIES[how].items():
        setattr(issuer, name, value)
    with pytest.raises(RemoteError):
        await guard.check([token])
    assert trusted(guard).introspected is not None
    assert not trusted(guard).introspected._answers


@pytest.mark.parametrize("members", [{"cnf": {"jkt": "x"}}, {"cnf": {"x5t#S256": "x"}}, {"token_type": "DPoP"}])
async def test_a_token_that_is_bound_by_its_answer_alone_is_none_of_a_bearer(issuer: Issuer, members: Any) -> None:
    """RFC 9449 section 6.2, RFC 8705 section 3.2."""
    issuer.changes = members
    guard = issuer.guard(cache_seconds=30)
    for _ in range(2):
        assert await reason_of(guard, issuer.token()) is Reason.TOKEN_BINDING


async def test_an_answer_to_an_earlier_question(issuer: Issuer) -> None:
    """Attack: an answer of a minute ago is replayed."""
    guard, token = issuer.guard(), issuer.token()
    await guard.check([token])
    claims = compact.parse(token[7:].decode()).claims
    issuer.body = await introspection.build(
        {"active": True, **claims}, issuer=ISSUER, audience=ME, now=NOW, signer=issuer.keys[0]
    )
    issuer.now += 34
    with pytest.raises(RemoteError):
        await guard.check([token])


async def test_json_from_an_issuer_that_does_not_sign(issuer: Issuer) -> None:
    issuer.signs, issuer.content_type = False, "Application/JSON; charset=utf-8"
    guard = issuer.guard()
    assert await reason_of(guard, issuer.token()) is None
    issuer.ended.add("1")
    assert await reason_of(guard, issuer.token()) is Reason.TOKEN_REVOKED


async def test_refusal_reveals_little(issuer: Issuer) -> None:
    """No member but `active` is required (RFC 7662 section 2.2)."""
    issuer.signs, issuer.body = False, '{"active":true}'
    assert await reason_of(issuer.guard(cache_seconds=30), issuer.token()) is None


async def test_no_answer_in_time(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspect, "TIMEOUT_SECONDS", 0.05)
    issuer.gate = asyncio.Event()
    with pytest.raises(Unreachable):
        await issuer.guard().check([issuer.token()])


async def test_a_guard_without_an_answer_says_503(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    """With the time to come again, and nothing of the token anywhere."""
    issuer.status = 401
    token = issuer.token()
    transport = httpx2.ASGITransport(app=GuardMiddleware(Starlette(), issuer.guard()))
    async with httpx2.AsyncClient(transport=transport, base_url=API) as http:
        reply = await http.get("/", headers={"authorization": token.decode()})
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
    assert reply.json()["error"] == "temporarily_unavailable"
    assert "may 'orders-api' introspect for 'https://api.example'" in caplog.text
    assert token.decode()[-20:] not in caplog.text + reply.text


async def test_the_end_before_the_scope(issuer: Issuer) -> None:
    issuer.ended.add("1")
    with pytest.raises(Rejected) as refusal:
        await issuer.guard().check([issuer.token()], need=["admin"])
    assert refusal.value.reason is Reason.TOKEN_REVOKED


def test_impossible_introspection_is_rejected() -> None:
    for client_id, seconds in (("", 0), (ME, -1), (ME, 31), (ME, float("nan"))):
        with pytest.raises(ConfigError):
            Introspection(client_id, SecretBasic("s3cret"), cache_seconds=seconds)
    asking = Introspection(ME, SecretBasic("s3cret"))
    assert "s3cret" not in repr(asking)


def test_loop_after_loop() -> None:
    """A guard outlives its loops: what one of them asked is nothing for the next."""

    async def make() -> Issuer:
        return Issuer()

    issuer = asyncio.run(make())
    guard, token = issuer.guard(), issuer.token()
    for _ in range(3):
        assert asyncio.run(reason_of(guard, token)) is None
    assert len(issuer.asked) == 3


async def test_by_a_certificate(issuer: Issuer) -> None:
    """The connection authenticates: at the address for that, if there is one (RFC 8705 section 5)."""
    guard = issuer.guard(introspection=Introspection(ME, OverTls()))
    await guard.check([issuer.token()])
    inner = f"{ISSUER}/mtls/introspect"
    issuer.endpoints |= {"mtls_endpoint_aliases": {"introspection_endpoint": inner}}  # type: ignore[dict-item]
    await issuer.guard(introspection=Introspection(ME, OverTls())).check([issuer.token()])
    await issuer.guard().check([issuer.token()])
    assert [str(request.url) for request in issuer.asked] == [f"{ISSUER}/introspect", inner, f"{ISSUER}/introspect"]
    assert parse_qs(issuer.asked[1].content.decode())["client_id"] == [ME]
    issuer.endpoints |= {"mtls_endpoint_aliases": {"introspection_endpoint": "http://as.example"}}  # type: ignore[dict-item]
    with pytest.raises(RemoteError, match="must be an https URL"):
        await issuer.guard(introspection=Introspection(ME, OverTls())).check([issuer.token()])


async def test_cached_answer_begins_no_coroutine(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    guard, token = issuer.guard(cache_seconds=10), issuer.token()
    await guard.check([token])
    monkeypatch.setattr(introspect.Introspected, "check", None)
    await guard.check([token])


async def test_connection_that_the_issuer_closed_costs_one_more(issuer: Issuer) -> None:
    """With a new proof: the issuer may have seen the first. Twice in a row is a failure."""
    failures = list[Exception]([httpx2.RemoteProtocolError("Server disconnected")])

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST" and failures:
            issuer.asked.append(request)
            raise failures.pop()
        return await issuer(request)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    asking = Introspection(ME, Assertion(MINE))
    guard = Guard(ISSUER, audience=API, http=http, clock=lambda: NOW, introspection=asking, revocations="off")
    await guard.check([issuer.token()])
    proofs = [parse_qs(request.content.decode())["client_assertion"][0] for request in issuer.asked]
    assert len({compact.parse(proof).claims["jti"] for proof in proofs}) == 2
    failures += [httpx2.RemoteProtocolError("Server disconnected"), httpx2.ReadError("reset")]
    with pytest.raises(Unreachable):
        await guard.check([issuer.token("2")])
