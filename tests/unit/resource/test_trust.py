"""A guard with several issuers: whose keys judge a token, what it remembers, and what its options may be."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.unit.resource.issuer import API, NOW, Check

from affiant.errors import ConfigError, Rejected, RemoteError
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.jose.key_set import KeySet
from affiant.oauth import revocations as feed
from affiant.resource import ClaimRules, Guard, Introspection, Issuer, ResourceMetadata
from affiant.resource.issuer import revocations

ONE, TWO = "https://one.example", "https://two.example/"


class Issuers:
    """Two issuers, one of which ends in a slash; both call their only key `1`."""

    def __init__(self) -> None:
        self.keys = {name: _key("1") for name in (ONE, TWO)}
        self.now = float(NOW)
        self.requests = list[str]()
        self.members = dict[str, Any]()  # of the metadata of both
        self.changes = dict[str, dict[str, Any]]()  # of one

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        url = str(request.url)
        self.requests.append(url)
        issuer = next(name for name in (ONE, TWO) if url.startswith(name.rstrip("/") + "/"))
        if request.url.path == "/jwks":
            return httpx2.Response(200, json=KeySet((self.keys[issuer].public(),)).to_jwks())
        if request.url.path == "/revocations":
            entries = [("jti", "gone", NOW)] if issuer == ONE else []
            return httpx2.Response(
                200, text=await feed.build(entries, issuer=issuer, now=NOW, signer=self.keys[issuer])
            )
        base = issuer.rstrip("/")
        members = {"issuer": issuer, "jwks_uri": f"{base}/jwks", **self.members, **self.changes.get(issuer, {})}
        return httpx2.Response(200, json=members)

    def guard(self, *issuers: Any, audience: Any = API, **options: Any) -> Guard:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self))
        given = list(issuers) or [ONE, Issuer(TWO)]
        return Guard(given, audience=audience, http=http, clock=lambda: self.now, **options)

    def token(self, issuer: str, *, by: str | None = None, **claims: Any) -> bytes:
        return token(self.keys[by or issuer], **{"iss": issuer, **claims})


def _key(kid: str) -> keys.PrivateKey:
    return keys.parse_private_jwk({**keys.generate("ES256").to_jwk(), "kid": kid})


def token(key: keys.PrivateKey, *, typ: str | None = "at+jwt", **claims: Any) -> bytes:
    members = {"iss": ONE, "aud": API, "sub": "c", "client_id": "c", "iat": NOW, "exp": NOW + 600, "jti": "1"}
    found = {name: value for name, value in {**members, **claims}.items() if value is not None}
    header = {"typ": typ} if typ is not None else {}
    return b"Bearer " + compact.sign(header, found, key).encode()


@pytest.fixture
def issuers() -> Issuers:
    return Issuers()


async def reason(check: Check, guard: Guard, token: bytes) -> Reason | None:
    try:
        await check(guard, [token])
    except Rejected as refusal:
        return refusal.reason
    return None


async def test_token_of_each_issuer_is_accepted(issuers: Issuers, check: Check) -> None:
    guard = issuers.guard()
    for issuer in (ONE, TWO, ONE):
        caller = await check(guard, [issuers.token(issuer)])
        assert caller.issuer == issuer
    assert sum(url.endswith("/jwks") for url in issuers.requests) == 2


@pytest.mark.attack(260)
async def test_key_of_one_issuer_proves_nothing_about_the_other(issuers: Issuers, check: Check) -> None:
    """Attack: issuer mix-up. Both have the kid, and the guard has seen good tokens of both."""
    guard = issuers.guard()
    for issuer, other in ((ONE, TWO), (TWO, ONE)):
        await check(guard, [issuers.token(issuer)])
        await check(guard, [issuers.token(other)])
        assert await reason(check, guard, issuers.token(issuer, by=other)) is Reason.TOKEN_SIGNATURE
    for almost in (ONE + "/", TWO.rstrip("/"), ONE.upper()):
        assert await reason(check, guard, issuers.token(ONE, iss=almost)) is Reason.TOKEN_ISSUER


@pytest.mark.attack(260)
async def test_unknown_issuer_costs_no_request(issuers: Issuers, check: Check) -> None:
    guard, stranger = issuers.guard(), keys.generate("ES256")
    members = {"sub": "c", "client_id": "c", "aud": API, "iat": NOW, "exp": NOW + 9, "jti": "1"}
    for claims in ({"iss": "https://evil.example"}, {"iss": [ONE]}, {"iss": {"a": 1}}, {"iss": None}, {}):
        header = {"typ": "at+jwt", "jku": "https://evil.example/jwks"}
        text = compact.sign(header, {**members, **claims}, stranger)
        assert await reason(check, guard, b"Bearer " + text.encode()) is Reason.TOKEN_ISSUER
    assert not issuers.requests


@pytest.mark.attack(252)
async def test_algorithms_are_those_of_the_issuer(issuers: Issuers, check: Check) -> None:
    """The other one accepts what this token is signed with."""
    guard = issuers.guard(Issuer(ONE, algorithms=["PS256"]), TWO)
    assert await reason(check, guard, issuers.token(ONE)) is Reason.TOKEN_ALGORITHM
    assert await reason(check, guard, issuers.token(TWO)) is None


async def test_new_key_of_one_issuer_ends_no_token_of_the_other(issuers: Issuers, check: Check) -> None:
    guard = issuers.guard()
    for issuer in (ONE, TWO):
        await check(guard, [issuers.token(issuer)])
    issuers.keys[ONE] = _key("2")
    await check(guard, [issuers.token(ONE)])
    fetched = len(issuers.requests)
    await check(guard, [issuers.token(TWO)])
    assert len(issuers.requests) == fetched


async def test_revocation_is_of_its_issuer_alone(issuers: Issuers, check: Check) -> None:
    for name in (ONE, TWO):
        issuers.changes[name] = {"revocations_uri": f"{name.rstrip('/')}/revocations"}
    guard = issuers.guard(Issuer(ONE, revocations="required"), Issuer(TWO, revocations="required"))
    assert await reason(check, guard, issuers.token(ONE, jti="gone")) is Reason.TOKEN_REVOKED
    assert await reason(check, guard, issuers.token(TWO, jti="gone")) is None
    issuers.now += revocations.IDLE_SECONDS  # so that the feeds are not followed after the test


async def test_dead_issuer_stops_only_its_own_tokens(issuers: Issuers, check: Check) -> None:
    issuers.changes[TWO] = {"jwks_uri": "https://two.example/none"}
    guard = issuers.guard()
    assert await reason(check, guard, issuers.token(ONE)) is None
    with pytest.raises(RemoteError):
        await check(guard, [issuers.token(TWO)])


async def test_several_identifiers_of_one_api(issuers: Issuers, check: Check) -> None:
    old = "https://old.example"
    guard = issuers.guard(ONE, audience=[API, old], metadata=ResourceMetadata())
    rights: list[Any] = [API, old, ["https://other.example", old]]
    wrongs: list[Any] = ["https://other.example", API + old, [], 5]
    for aud in rights:
        assert await reason(check, guard, issuers.token(ONE, aud=aud)) is None
    for aud in wrongs:
        assert await reason(check, guard, issuers.token(ONE, aud=aud)) is Reason.TOKEN_AUDIENCE
    denied = guard.deny(Rejected(Reason.TOKEN_MISSING))
    assert f'realm="{API}"' in denied.headers["WWW-Authenticate"]
    assert guard.published is not None
    assert json.loads(guard.published.body)["resource"] == API


def test_metadata_name_every_issuer(issuers: Issuers) -> None:
    published = issuers.guard(metadata=ResourceMetadata()).published
    assert published is not None
    assert json.loads(published.body)["authorization_servers"] == [ONE, TWO]


async def test_proof_algorithms_are_those_of_issuer_and_api(issuers: Issuers, check: Check) -> None:
    """`id_token_signing_alg_values_supported` is not about access tokens, nor about proofs."""
    issuers.members = {"id_token_signing_alg_values_supported": ["RS256"]}
    issuers.changes[ONE] = {"dpop_signing_alg_values_supported": ["PS256", "ES256", "HS256", 5]}
    for given, algs in (((ONE,), "ES256 PS256"), ((ONE, TWO), None), ((TWO,), None)):
        guard = issuers.guard(*given)
        before = guard.deny(Rejected(Reason.TOKEN_MISSING)).headers
        for issuer in given:
            assert await reason(check, guard, issuers.token(issuer)) is None
        after = guard.deny(Rejected(Reason.TOKEN_MISSING)).headers
        assert before == after if algs is None else after["WWW-Authenticate"].endswith(f'algs="{algs}"')


@pytest.mark.parametrize("form", ["dict", "text", "path", "str"])
async def test_keys_that_are_given_are_not_fetched(form: str, tmp_path: Path, check: Check) -> None:
    issuers = Issuers()
    jwks, file = KeySet((issuers.keys[ONE].public(),)).to_jwks(), tmp_path / "jwks.json"
    file.write_text(json.dumps(jwks))
    given: Any = {"dict": jwks, "text": json.dumps(jwks), "path": file, "str": str(file)}[form]
    guard = issuers.guard(Issuer(ONE, jwks=given))
    for _ in range(2):
        assert await reason(check, guard, issuers.token(ONE)) is None
    assert await reason(check, guard, token(_key("1"))) is Reason.TOKEN_SIGNATURE
    assert await reason(check, guard, token(_key("2"))) is Reason.TOKEN_KEY
    assert not issuers.requests


def test_keys_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    secret = {"keys": [keys.generate("ES256").to_jwk()]}
    (tmp_path / "odd").write_bytes(b"\xff")
    wrongs: list[Any] = [secret, {"keys": []}, "{", "[]", tmp_path / "none", tmp_path, tmp_path / "odd", 5, "a\0b"]
    for wrong in wrongs:
        with pytest.raises(ConfigError):
            Guard(Issuer(ONE, jwks=wrong), audience=API)


async def test_claims_are_read_where_the_issuer_has_them(issuers: Issuers, check: Check) -> None:
    rules = ClaimRules(client_id=("azp", "client_id"), jti=("uti",), scope=("scp", "roles"), waived={"sub"})  # type: ignore[arg-type]
    guard = issuers.guard(Issuer(ONE, accept_typ=["JWT", None], claims=rules))
    given = {"azp": "billing", "client_id": None, "sub": None, "uti": "7", "roles": ["a", "b c", "d"]}
    for typ in ("JWT", "jwt", None):
        caller = await check(guard, [token(issuers.keys[ONE], typ=typ, **given)])
        assert (caller.client_id, caller.sub, caller.token_id) == ("billing", "billing", "7")
        assert caller.scopes == {"a", "d"}  # an element with a space is no scope, and no two
    for scp, scopes in (("x y", {"x", "y"}), ("", set()), ([], set())):  # what comes first counts alone
        assert (await check(guard, [token(issuers.keys[ONE], typ="JWT", **given, scp=scp)])).scopes == scopes
    wrongs: list[dict[str, Any]] = [
        {"client_id": "other"},  # two clients
        {"azp": None},
        {"azp": ["billing"]},
        {"scp": [1]},
        {"scp": {"a": 1}},
        {"uti": None},
        {"uti": 7},
        {"exp": None},
        {"iat": None},
    ]
    for wrong in wrongs:
        found = await reason(check, guard, token(issuers.keys[ONE], typ="JWT", **{**given, **wrong}))
        assert found is Reason.TOKEN_CLAIM, wrong


@pytest.mark.attack(251)
async def test_other_jwts_of_the_issuer_are_refused(issuers: Issuers, check: Check) -> None:
    """ID tokens and logout tokens, where typ JWT is accepted; and where it is not, everything else."""
    open_guard, strict = issuers.guard(Issuer(ONE, accept_typ=["JWT"])), issuers.guard(ONE)
    for name in ("at_hash", "c_hash", "s_hash", "events"):
        claims = {name: "x"}
        assert await reason(check, open_guard, token(issuers.keys[ONE], typ="JWT", **claims)) is Reason.TOKEN_TYPE
    for typ in (None, "at+jwt", "dpop+jwt"):
        assert await reason(check, open_guard, token(issuers.keys[ONE], typ=typ)) is Reason.TOKEN_TYPE
    for typ in (None, "JWT"):
        assert await reason(check, strict, token(issuers.keys[ONE], typ=typ)) is Reason.TOKEN_TYPE
    odd = compact.sign({"typ": 5}, {"iss": ONE}, issuers.keys[ONE]).encode()
    untyped = issuers.guard(Issuer(ONE, accept_typ=[None]))
    assert await reason(check, untyped, b"Bearer " + odd) is Reason.TOKEN_TYPE


async def test_clients_are_named(issuers: Issuers, check: Check) -> None:
    """A token that is for no API is accepted from these clients alone; one for another API is not."""
    rules = ClaimRules(waived=frozenset({"aud"}))
    guard = issuers.guard(Issuer(ONE, claims=rules, clients=["c"]))
    assert await reason(check, guard, issuers.token(ONE, aud=None)) is None
    assert await reason(check, guard, issuers.token(ONE, aud="https://other.example")) is Reason.TOKEN_AUDIENCE
    assert await reason(check, guard, issuers.token(ONE, aud=None, client_id="d")) is Reason.TOKEN_CLAIM
    given = issuers.guard(Issuer(ONE, clients={"c": "a b", "d": ""}))
    assert (await check(given, [issuers.token(ONE, scope="admin")])).scopes == {"a", "b"}
    assert (await check(given, [issuers.token(ONE, client_id="d", scope="admin")])).scopes == set()


async def test_required_claims_are_compared_by_type(issuers: Issuers, check: Check) -> None:
    rules = ClaimRules(required={"ok": (True,), "use": ("access",)}, check=lambda claims: claims.get("wrong"))
    guard = issuers.guard(Issuer(ONE, claims=rules))
    assert await reason(check, guard, issuers.token(ONE, ok=True, use="access")) is None
    for claims in ({"ok": 1}, {"ok": "true"}, {"use": "id"}, {"use": None}, {"use": ["access"]}, {"wrong": "so"}):
        changed: dict[str, Any] = {"ok": True, "use": "access", **claims}
        assert await reason(check, guard, issuers.token(ONE, **changed)) is Reason.TOKEN_CLAIM


_BOTH = Introspection("api", object(), opaque=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("match", "make"),
    [
        ("a str, not int", lambda: Issuer(5)),  # type: ignore[arg-type]
        ("cannot be an issuer", lambda: Issuer("http://as.example")),
        ("algorithms=", lambda: Issuer(ONE, algorithms="ES256")),
        ("algorithms=", lambda: Issuer(ONE, algorithms=["HS256"])),
        ("accept_typ=", lambda: Issuer(ONE, accept_typ="JWT")),
        ("accept_typ=", lambda: Issuer(ONE, accept_typ=[])),
        ("accept_typ='dpop", lambda: Issuer(ONE, accept_typ=["application/DPoP+jwt"])),
        ("claims=", lambda: Issuer(ONE, claims={"client_id": "azp"})),  # type: ignore[arg-type]
        ("client_id takes a tuple", lambda: ClaimRules(client_id="azp")),  # type: ignore[arg-type]
        ("waived takes of aud, iat, jti, sub", lambda: ClaimRules(waived=frozenset({"exp"}))),
        ("client_id names no claim", lambda: ClaimRules(client_id=())),
        ("without aud", lambda: Issuer(ONE, claims=ClaimRules(waived=frozenset({"aud"})))),
        ("clients=", lambda: Issuer(ONE, clients="billing")),
        ("clients=", lambda: Issuer(ONE, clients=[])),
        ("clients=", lambda: Issuer(ONE, clients={"billing": ["a"]})),
        ("revocations=", lambda: Issuer(ONE, revocations="on")),
        ("not both", lambda: Issuer(ONE, reach="https://a", unsafe_reach="http://a")),
        ("is http", lambda: Issuer(ONE, reach="http://as.internal")),
        ("not where a server listens", lambda: Issuer(ONE, reach="https://as.internal/realms")),
        ("not where a server listens", lambda: Issuer(ONE, unsafe_reach="http://user@as.internal")),
        ("not where a server listens", lambda: Issuer(ONE, unsafe_reach="http://as.internal:99999")),
        ("not where a server listens", lambda: Issuer(ONE, unsafe_reach="as.internal")),
        ("twice", lambda: Guard([ONE, Issuer(ONE)], audience=API)),
        ("not an empty one", lambda: Guard([], audience=API)),
        ("a whole URL, such as https://", lambda: Guard("as.example", audience=API)),
        ("is an Introspection, not bool", lambda: Guard(ONE, audience=API, introspection=True)),  # type: ignore[arg-type]
        ("belong into each Issuer", lambda: Guard([ONE], audience=API, revocations="off")),
        ("belong into each Issuer", lambda: Guard(Issuer(ONE), audience=API, algorithms=["ES256"])),
        (
            "one issuer alone",
            lambda: Guard([Issuer(ONE, introspection=_BOTH), Issuer(TWO, introspection=_BOTH)], audience=API),
        ),
    ],
)
def test_impossible_options_are_named(match: str, make: Any) -> None:
    with pytest.raises(ConfigError, match=match):
        make()


def test_repr_and_log_say_what_is_waived(caplog: pytest.LogCaptureFixture) -> None:
    assert repr(Issuer(ONE)) == f"Issuer('{ONE}', of RFC 9068)"
    rules = ClaimRules(client_id=("azp",), waived=frozenset({"jti"}))
    issuer = Issuer(ONE, accept_typ=[None, "JWT"], claims=rules)
    said = "typ absent; typ JWT; no jti; client_id from azp"
    assert repr(issuer) == f"Issuer('{ONE}', {said})"
    caplog.set_level("INFO")
    Guard([Issuer(TWO)], audience=API)
    assert not caplog.text
    Guard([issuer], audience=API)
    assert said in caplog.text
