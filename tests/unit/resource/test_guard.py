"""The guard: verdicts and answers, with tokens made by a foreign library and an issuer that counts its fetches."""

import asyncio
import json
from typing import Any

import httpx2
import jwt
import pytest
from tests.unit.resource import issuer as issuers
from tests.unit.resource.issuer import API, ISSUER, NOW, Check

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose import keys
from affiant.oauth import metadata
from affiant.resource import Caller, Denied, Guard

KEY = keys.generate("ES256")


class Issuer(issuers.Issuer):
    """With counted fetches."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = [KEY]
        self.fetches = 0

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if not self.is_up:
            raise httpx2.ConnectError("down")
        return await super().__call__(request)

    async def jwks(self) -> httpx2.Response:
        self.fetches += 1
        await asyncio.sleep(0)
        return await super().jwks()


def _token(key: keys.PrivateKey = KEY, *, typ: str = "at+jwt", without: str = "", **claims: Any) -> bytes:
    members = {
        "iss": ISSUER,
        "aud": API,
        "sub": "c",
        "client_id": "c",
        "iat": NOW,
        "exp": NOW + 60,
        "jti": "1",
        "scope": "a b",
        **claims,
    }
    members.pop(without, None)
    pem: Any = key.key
    return b"Bearer " + jwt.encode(members, pem, key.alg, headers={"typ": typ, "kid": key.kid}).encode()


@pytest.mark.attack(257)
async def test_accepted(check: Check) -> None:
    """A good token in any case of the scheme, and one that expired within the leeway."""
    guard = Issuer().guard()
    for value in (_token(), _token(exp=NOW - 5), _token(aud=[API, "x"]), b"bearer" + _token()[6:]):
        caller = await check(guard, [value], need=["a", "b"])
        assert (caller.client_id, caller.scopes) == ("c", frozenset("ab"))


@pytest.mark.attack(258)
@pytest.mark.parametrize("scope", ["ab", "a:all", "A", ""])
async def test_scope_is_whole_names(scope: str, check: Check) -> None:
    """A name that only looks like the scope is not it."""
    value = _token(scope=scope) if scope else _token(without="scope")
    with pytest.raises(Rejected) as refusal:
        await check(Issuer().guard(), [value], need=["a"])
    assert refusal.value.reason is Reason.SCOPE_INSUFFICIENT


async def test_one_fetch_for_many(check: Check) -> None:
    """Twenty cold requests at once fetch the keys once."""
    issuer = Issuer()
    guard = issuer.guard()
    await asyncio.gather(*(check(guard, [_token(jti=str(n))]) for n in range(20)))
    assert issuer.fetches == 1


def test_guard_needs_its_audience() -> None:
    """A guard that would take any audience is not built."""
    with pytest.raises(ConfigError):
        Guard(ISSUER, audience="")
    for name in ("algorithms", "proof_algorithms"):
        for wrong in (("HS256",), ("none",), ()):
            with pytest.raises(ConfigError, match=f"^{name}= takes one or more of: ES256"):
                Guard(ISSUER, audience=API, **{name: wrong})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="another issuer"):
        metadata.parse(b'{"issuer":"https://evil.example"}', issuer=ISSUER)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("audience", {"audience": [API, 5]}),
        ("audience", {"audience": {API}}),
        ("algorithms", {"algorithms": "ES256"}),
        ("proof_algorithms", {"proof_algorithms": "ES256"}),
        ("certificate_proxies", {"certificate_proxies": "10.0.0.5"}),
    ],
)
def test_argument_of_the_wrong_shape_is_named(name: str, options: dict[str, Any]) -> None:
    """A str for a list would be read letter by letter, and a list for a str would match no token."""
    with pytest.raises(ConfigError, match=rf"^{name}="):
        Guard(ISSUER, **{"audience": API, **options})


async def test_scopes_may_be_text(check: Check) -> None:
    """As in a token: one, or several with spaces between; never letter by letter."""
    guard = Issuer().guard()
    for need in ("a", "a b", ["a", "b"]):
        assert (await check(guard, [_token()], need=need)).client_id == "c"
    with pytest.raises(Rejected) as refusal:
        await check(guard, [_token()], need="a orders.read")
    assert refusal.value.expected == "a orders.read"


def test_scopes_of_a_dependency_are_named_one_by_one() -> None:
    listed: Any = ["orders.read"]
    with pytest.raises(ConfigError, match="scopes="):
        Issuer().guard()(listed)


def test_guard_takes_an_issuer_with_a_slash() -> None:
    assert Guard("https://tenant.example/", audience=API).issuer == "https://tenant.example/"


def _scope(*headers: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": "/", "headers": headers, **more}


async def test_scope_of_asgi_gives_the_caller() -> None:
    found = await Issuer().guard().check_scope(_scope((b"authorization", _token())), need="a b")
    assert isinstance(found, Caller)
    assert found.client_id == "c"


@pytest.mark.parametrize(
    ("headers", "status", "error", "reason"),
    [
        ([], 401, "invalid_token", Reason.TOKEN_MISSING),
        ([(b"authorization", _token(exp=NOW - 31))], 401, "invalid_token", Reason.TOKEN_EXPIRED),
        ([(b"authorization", _token(scope="b"))], 403, "insufficient_scope", Reason.SCOPE_INSUFFICIENT),
    ],
    ids=["no token", "expired", "another scope"],
)
async def test_scope_of_asgi_gives_the_response_to_a_refused_request(
    headers: list[tuple[bytes, bytes]], status: int, error: str, reason: Reason
) -> None:
    found = await Issuer().guard().check_scope(_scope(*headers), need=["a"])
    assert isinstance(found, Denied)
    assert (found.status, found.error, found.reason) == (status, error, reason)
    assert json.loads(found.body).get("error") == (error if headers else None)
    assert found.headers["WWW-Authenticate"].startswith("Bearer ")


async def test_scope_of_asgi_gives_503_while_the_issuer_is_down() -> None:
    issuer = Issuer()
    issuer.is_up = False
    found = await issuer.guard().check_scope(_scope((b"authorization", _token())))
    assert isinstance(found, Denied)
    assert (found.status, found.headers["Retry-After"], found.error) == (503, "5", "temporarily_unavailable")


@pytest.mark.parametrize("leeway", [-1, 301, 1.5, True, "30", None])
def test_leeway_has_bounds(leeway: Any) -> None:
    """Expired tokens would live on, and a small fault of a setting would be a large one of the API."""
    with pytest.raises(ConfigError, match=r"^leeway="):
        Guard(ISSUER, audience=API, leeway=leeway)


@pytest.mark.parametrize("leeway", [0, 30, 300])
async def test_leeway_is_an_option(leeway: int, check: Check) -> None:
    issuer = Issuer()
    guard = issuer.guard(leeway=leeway)
    good = _token(exp=NOW - leeway + 1), _token(iat=NOW + leeway), _token(nbf=NOW + leeway)
    for value in good:
        assert (await check(guard, [value])).client_id == "c"
    bad = _token(exp=NOW - leeway), _token(iat=NOW + leeway + 1), _token(nbf=NOW + leeway + 1)
    for value in bad:
        with pytest.raises(Rejected) as refusal:
            await check(guard, [value])
        assert refusal.value.reason in (Reason.TOKEN_EXPIRED, Reason.TOKEN_NOT_YET_VALID)


TIMES: list[tuple[dict[str, Any], str]] = [
    ({"exp": NOW - 95}, "it expired 95 s ago by this clock"),
    ({"iat": NOW + 60}, "this clock is 60 s or more behind the issuer's"),
    ({"nbf": NOW + 60}, "it begins in 60 s by this clock"),
]


@pytest.mark.parametrize(("claims", "difference"), TIMES)
async def test_log_says_how_far_the_clocks_differ(
    claims: dict[str, Any], difference: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log, not the caller."""
    caplog.set_level("INFO")
    found = await Issuer().guard().check_scope(_scope((b"authorization", _token(**claims))))
    assert isinstance(found, Denied)
    assert difference in caplog.text
    assert difference not in str(found)
    assert json.loads(found.body)["error_description"] == UNEXPLAINED


async def test_log_says_what_this_api_expects(caplog: pytest.LogCaptureFixture) -> None:
    """A slash too many in `audience=` shows at once."""
    caplog.set_level("INFO")
    await Issuer().guard().check_scope(_scope((b"authorization", _token(aud=f"{API}/"))))
    assert f"refused: token.audience; expected {API}\n" in caplog.text


UNEXPLAINED = "the access token has expired, was revoked or is not valid here"


@pytest.mark.parametrize(("claims", "difference"), TIMES)
async def test_caller_gets_the_reason_in_development(claims: dict[str, Any], difference: str) -> None:
    found = await Issuer().guard(development=True).check_scope(_scope((b"authorization", _token(**claims))))
    assert isinstance(found, Denied)
    assert json.loads(found.body)["error_description"].endswith(f": {difference}")
    assert difference in found.headers["WWW-Authenticate"]


@pytest.mark.parametrize("development", ["false", 1, None])
def test_development_is_a_bool(development: Any) -> None:
    """The text `false` of an environment variable must not turn it on."""
    with pytest.raises(ConfigError, match=r"^development="):
        Guard(ISSUER, audience=API, development=development)
