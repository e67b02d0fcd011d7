"""T6: what an authenticated client asks for. It may ask once with each assertion, whatever the answer."""

import asyncio
import time
from dataclasses import replace
from urllib.parse import quote_plus, urlencode

import pytest
from tests.attacks.bench import API, OTHER, OTHER_API, STRANGER, Bench, assertion, basic, form, post, row, running
from tests.wire import Request

from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.key_set import KeySet
from affiant.server.request.limits import Rates
from affiant.storage.memory import MemoryStore
from affiant.system.identifiers import new_token_id
from affiant.testing import ISSUER

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
NOT_HERE = [
    "password",
    "implicit",
    "authorization_code",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:saml2-bearer",
    "CLIENT_CREDENTIALS",
    "client_credentials  ",
    "client_credentials\t",
    "client_credentials\0",
    "client-credentials",
]
SPELT = ["r  r", " r", "r ", "r\tr", "r\n", 'r"', "r\\", "r\0", "\u00e9", "\u202er", "r\x9b2J", " "]
NO_TARGETS = [
    f"{API}#",
    "/a",
    "//api.example",
    "api.example",
    "http:",
    "1https://api.example",
    "https://\u00e4.example",
    "https://api.example/<x>",
    f"{API}#f",
    f"{API}\n",
    f" {API}",
    f"{API} ",
    f"{API}/\u00e9",
    f"{API}\\x",
    f"{API}/%zz",
]
NEARLY = [
    "https://unknown.example",
    OTHER_API,
    "https://API.example",
    f"{API}/",
    f"{API}:443",
    f"{API}?x",
    f"{API}.evil.example",
    f"{API[:-1]}x",
    API.upper(),
    API.replace("https", "HTTPS"),
    API.replace("https", "http"),
    API.replace("a", "%61"),
    API.replace("//", "//api.example@"),
    f"{ISSUER}/token",
    f"{ISSUER}/admin/api",
    "urn:api",
]


REFUSED = [
    row(153, "4 KB", post(form(scope="r" * 4096)), Reason.SCOPE_MALFORMED),
    row(153, "2,000 names", post(form(scope=" ".join(f"s{i}" for i in range(2000)))), Reason.SCOPE_MALFORMED),
    row(157, "grant", post(form(grant_type="refresh_token")), Reason.GRANT_NOT_ALLOWED, rfc="6749 5.2"),
    *(row(152, repr(text), post(form(scope=text)), Reason.SCOPE_MALFORMED, rfc="6749 3.3") for text in SPELT),
    *(
        row(151, text, post(form(scope=text)), Reason.SCOPE_NOT_ALLOWED, rfc="6749 3.3")
        for text in ("R", "r,w", "r admin", "r r admin", "*", "w")
    ),
    *(row(155, text, post(form(resource=text)), Reason.RESOURCE_MALFORMED, rfc="8707 2") for text in NO_TARGETS),
    *(row(156, text, post(form(resource=text)), Reason.RESOURCE_NOT_ALLOWED, rfc="8707 2") for text in NEARLY),
]


@pytest.mark.parametrize(("what", "reason"), REFUSED)
async def test_refused(bench: Bench, what: Request, reason: Reason) -> None:
    await bench.refused(what, reason, uses_up=True)


@pytest.mark.attack(156)
@pytest.mark.rfc(8707, "2")
@pytest.mark.parametrize(
    "wanted", [(API, OTHER_API), (OTHER_API, API), (API, "https://unknown.example"), (API, f"{API}/"), (API, "a")]
)
async def test_one_forbidden_api_of_two(bench: Bench, wanted: tuple[str, str]) -> None:
    """A token for the one of two that is allowed would be another than was asked for."""
    body = f"{urlencode(form())}&{'&'.join(f'resource={quote_plus(each)}' for each in wanted)}"
    reason = Reason.RESOURCE_MALFORMED if "a" in wanted else Reason.RESOURCE_NOT_ALLOWED
    await bench.refused(post(body), reason, uses_up=True)


@pytest.mark.attack(156)
@pytest.mark.rfc(8707, "2")
async def test_one_api_named_twice_is_one(bench: Bench) -> None:
    named = quote_plus(API)
    await bench.issued(post(f"{urlencode(form())}&resource={named}&resource={named}&resource="), aud=API)


@pytest.mark.attack(152)
async def test_one_scope_named_twice_is_one(bench: Bench) -> None:
    assert (await bench.issued(post(form(scope="r r"))))["scope"] == "r"
    assert (await bench.issued(post(form(assertion(jti="2"), scope="")), jti="2"))["scope"] == "r"


@pytest.mark.attack(153)
@pytest.mark.parametrize(
    "scope",
    ["r" * 4096, " ".join(f"s{i}" for i in range(2000)), "r " * 30_000, " " * 60_000, '"' * 4096, "r" * 60_000],
)
async def test_long_scope_costs_nothing(bench: Bench, scope: str) -> None:
    """Less than 5 ms of the processor more than one that is wrong and short, up to the longest that a form can hold."""

    async def cost(text: str) -> float:
        times = []
        for _ in range(7):
            what = bench.signed(scope=text)
            before = time.process_time()
            reply = await bench.send(what)
            times.append(time.process_time() - before)
            assert (reply.status, reply.json()["error"]) == (400, "invalid_scope")
        return min(times)

    assert await cost(scope) - await cost('"') < 0.005


@pytest.mark.attack(157)
async def test_client_without_grant(bench: Bench) -> None:
    await bench.change_client("c2", grant_types=("refresh_token",))
    what = post(form(assertion(OTHER, iss="c2", sub="c2")))
    await bench.refused(what, Reason.GRANT_NOT_ALLOWED, claimed="c2", jti=None)
    assert await bench.used_up("j", "c2")


@pytest.mark.rfc(6749, "4.4.2")
@pytest.mark.parametrize("grant_type", [row(160, repr(name[-14:]), name, rfc="6749 5.2") for name in NOT_HERE])
async def test_grant_that_is_not_here(bench: Bench, grant_type: str) -> None:
    await bench.refused(post(form(grant_type=grant_type)), Reason.GRANT_UNSUPPORTED)


@pytest.mark.attack(160)
@pytest.mark.rfc(6749, "5.2")
async def test_jwt_bearer_is_opt_in(bench: Bench) -> None:
    """It is a grant of this server, but off for every client that has it not: no token, and nothing of it for a stranger."""
    alone = {"grant_type": JWT_BEARER, "assertion": assertion(jti="grant")}
    await bench.refused(post(alone), Reason.GRANT_NOT_ALLOWED, jti=None)
    assert await bench.used_up("grant")
    other = {"grant_type": JWT_BEARER, "assertion": assertion(STRANGER, jti="other")}
    reply = await bench.send(post(other))
    assert (reply.status, await bench.used_up("other")) == (400, False)
    await bench.add_client("exchanging", grant_types=(JWT_BEARER,))
    reply = await bench.send(post({**alone, "assertion": assertion(iss="exchanging", sub="exchanging")}))
    assert set(reply.json()) == {"access_token", "token_type", "expires_in", "scope"}


async def _published(bench: Bench) -> KeySet:
    return KeySet.parse((await bench.send(Request(method="GET", path="/jwks"))).json())


def _jti(text: str, published: KeySet, client_id: str = "c1") -> str:
    """The jti of a token that says what it must, under a key that is published."""
    unverified = compact.parse(text)
    key = published.find(str(unverified.kid))
    assert key is not None
    token = compact.verify(unverified, key)
    said = {name: token.claims[name] for name in ("iss", "aud", "sub", "client_id")}
    assert said == {"iss": ISSUER, "aud": API, "sub": client_id, "client_id": client_id}
    assert (token.header["typ"], token.header["alg"]) == ("at+jwt", key.alg)
    assert type(token.claims["iat"]) is type(token.claims["exp"]) is int
    return str(token.claims["jti"])


@pytest.mark.attack(159)
@pytest.mark.rfc(9068, "2.1")
@pytest.mark.rfc(9068, "2.2")
async def test_tokens_are_distinct(bench: Bench) -> None:
    """Two hundred through the whole server, and a hundred thousand names of tokens: none twice; each says what it must."""
    published = await _published(bench)
    replies = [await bench.send(bench.signed()) for _ in range(200)]
    assert len({_jti(reply.json()["access_token"], published) for reply in replies}) == 200
    assert len({new_token_id() for _ in range(100_000)}) == 100_000


@pytest.mark.attack(159)
@pytest.mark.soak
@pytest.mark.parametrize("client_id", ["client_secret_basic", "refreshing"])
async def test_hundred_thousand_tokens_are_distinct(bench: Bench, client_id: str) -> None:
    """All of them issued by the whole server, many at once: alone, and as the first of a family."""
    published, seen = await _published(bench), set[str]()
    for _ in range(1000):
        replies = await asyncio.gather(*(bench.send(_ask(bench, client_id)) for _ in range(100)))
        seen |= {_jti(reply.json()["access_token"], published, client_id) for reply in replies}
    assert len(seen) == 100_000


def _ask(bench: Bench, client_id: str) -> Request:
    if client_id in bench.secrets:
        return post({"grant_type": "client_credentials"}, basic(client_id, bench.secrets[client_id]))
    return bench.signed(client_id)


@pytest.mark.attack(162)
async def test_stranger_cannot_lock_a_client_out(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand bad assertions in the name of c1 from many addresses, with the limits on: c1 itself is served."""
    async with running(MemoryStore(), caplog, monkeypatch, Rates()) as bench:
        statuses = set()
        for number in range(1000):
            what = replace(post(form(assertion(STRANGER, jti=f"s{number}"))), address=f"203.0.113.{number % 250}")
            statuses.add((await bench.send(what)).status)
            if number % 100 == 0:
                assert (await bench.send(bench.signed())).status == 200
        assert statuses == {401, 429}
        assert (await bench.send(bench.signed())).status == 200


@pytest.mark.attack(154)
@pytest.mark.attack(158)
@pytest.mark.rfc(6749, "3.3")
@pytest.mark.rfc(6749, "4.4.3")
@pytest.mark.rfc(6749, "5.1")
@pytest.mark.rfc(6750, "5.3")
async def test_answer(bench: Bench) -> None:
    """Without scope, all that the client has; no refresh token, unless it was registered for them."""
    members = await bench.issued(post())
    assert set(members) == {"access_token", "token_type", "expires_in", "scope"}
    assert (members["scope"], members["expires_in"], type(members["expires_in"])) == ("r", 600, int)
    members = await bench.issued(post(form(assertion(iss="refreshing", sub="refreshing"))), client_id="refreshing")
    assert len(members["refresh_token"]) == 43
