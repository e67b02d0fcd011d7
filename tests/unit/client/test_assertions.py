"""Members that the caller adds to assertions, and those that are refused."""

from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from tests.rsa_keys import rsa_2048
from tests.unit.client.conftest import Answer, Foreign

from affiant import Service
from affiant.errors import LocalError, Refused
from affiant.jose import compact, jwk, keys
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.keys import PrivateKey

ISSUER = "https://as.example"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@pytest.fixture(scope="session")
def rsa_key() -> PrivateKey:
    return keys.parse_private_jwk(jwk.build(rsa_2048()))


def _service(key: PrivateKey, **options: Any) -> Service:
    return Service(ISSUER, "billing", key=key, **options)


def _pem(key: PrivateKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


@pytest.mark.rfc(7518, "3.1")
@pytest.mark.parametrize("alg", ASYMMETRIC)
def test_every_algorithm_signs(rsa_key: PrivateKey, alg: str) -> None:
    """By a key that names no algorithm; another maker's library verifies it, as far as it knows the algorithm."""
    key = rsa_key if alg[:2] in ("RS", "PS") else keys.generate(alg)
    text = Service(ISSUER, "billing", key=_pem(key), alg=alg).assertion()
    found = compact.parse(text)
    assert found.alg == alg
    public = keys.parse_public_jwk({**key.public().jwk, "alg": alg})
    assert compact.verify(found, public).claims["aud"] == ISSUER
    if alg in jwt.algorithms.get_default_algorithms():
        jwt.decode(text, key.key.public_key(), algorithms=[alg], audience=ISSUER)  # type: ignore[arg-type]


@pytest.mark.parametrize(("alg", "other"), [("ES256", "ES384"), ("ES384", "RS256"), ("Ed25519", "ES256")])
def test_algorithm_of_another_key_is_rejected(alg: str, other: str) -> None:
    with pytest.raises(LocalError, match=f"alg does not fit the key: expected {alg}"):
        Service(ISSUER, "billing", key=_pem(keys.generate(alg)), alg=other)


HEADER = {"jku": "https://client.example/jwks", "x5t#S256": "dGh1bWI", "x5c": ["MIIB"], "typ": "JWT", "cty": "x"}


@pytest.mark.rfc(7515, "4.1")
def test_members_are_added(key: PrivateKey) -> None:
    made = compact.parse(_service(key, header=HEADER, claims={"org": ["a", 1]}).assertion())
    assert made.header == {**HEADER, "alg": "ES256"}  # x5c names the key instead of the kid
    assert made.claims["org"] == ["a", 1]
    assert set(made.claims) == {"iss", "sub", "aud", "iat", "exp", "jti", "org"}
    kept = compact.parse(_service(key, kid="mine", header=HEADER).assertion())
    assert kept.kid == "mine"
    bare = compact.parse(_service(key, header={"typ": None}).assertion())
    assert bare.header == {"alg": "ES256", "kid": key.kid}


def test_function_is_called_for_each_attempt(foreign: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    count = iter(range(9))
    service = Service(foreign.url, "billing", key=key, claims=lambda: {"n": next(count)}, http=http)
    foreign.script["/token"] = [Answer(503, {}, {"Retry-After": "0"})]
    service.token()
    first, second = foreign.sent("/token")
    assert (first.assertion["n"], second.assertion["n"]) == (0, 1)
    assert first.assertion["jti"] != second.assertion["jti"]


RESERVED = [
    *({"claims": {name: "x"}} for name in ("iss", "sub", "aud", "exp", "iat", "jti")),
    *({"header": {name: "x"}} for name in ("alg", "kid", "crit", "b64", "jwk")),
]


@pytest.mark.parametrize("options", RESERVED, ids=str)
def test_what_another_parameter_sets_is_rejected(key: PrivateKey, options: dict[str, Any]) -> None:
    """At once, or when the function has returned it; nothing is sent."""
    ((name, given),) = options.items()
    with pytest.raises(LocalError, match="must not have"):
        _service(key, **options)
    with pytest.raises(LocalError, match="must not have"):
        _service(key, **{name: lambda: given}).assertion()


@pytest.mark.parametrize("name", ["header", "claims"])
@pytest.mark.parametrize("given", ["text", ["x"], {1: "x"}, {"x": object()}, {"x": float("nan")}.keys()])
def test_what_is_not_json_is_rejected(key: PrivateKey, name: str, given: Any) -> None:
    for value in (given, lambda: given):
        with pytest.raises(LocalError, match=f"{name}="):
            _service(key, **{name: value}).assertion()


@pytest.mark.parametrize("name", ["header", "claims"])
def test_private_key_is_not_put_in_an_assertion(key: PrivateKey, name: str) -> None:
    with pytest.raises(LocalError, match="has a private key") as caught:
        _service(key, **{name: {"x5c": [_pem(key)]}})
    assert _pem(key).split("\n")[1] not in str(caught.value)


@pytest.mark.parametrize(
    ("lifetime", "is_good"),
    [(1, True), (3600, True), (0, False), (3601, False), (-5, False), (1.5, False), (True, False), ("60", False)],
)
def test_lifetime_has_bounds(key: PrivateKey, lifetime: Any, is_good: bool) -> None:
    if not is_good:
        with pytest.raises(LocalError, match="lifetime="):
            _service(key, lifetime=lifetime)
        return
    claims = compact.parse(_service(key, lifetime=lifetime).assertion()).claims
    assert claims["exp"] - claims["iat"] == lifetime


def _grant(foreign: Foreign, key: PrivateKey, http: httpx2.Client, **more: Any) -> Service:
    return Service(foreign.url, "billing", key=key, grant="jwt-bearer", http=http, **more)


def _claims(request: Any) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(request.form["assertion"], options={"verify_signature": False})
    return found


@pytest.mark.rfc(7523, "2.1")
def test_assertion_is_the_grant(foreign: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    service = _grant(foreign, key, http, subject="robot")
    assert service.token("https://a.example", "a b").value == "token-1"
    assert service.token("https://a.example", "a b").value == "token-1"
    (sent,) = foreign.sent("/token")
    assert {name: sent.form[name] for name in sent.form if name != "assertion"} == {
        "grant_type": JWT_BEARER,
        "scope": "a b",
        "resource": "https://a.example",
    }
    claims = _claims(sent)
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("billing", "robot", foreign.url)
    assert compact.parse(service.assertion()).claims["sub"] == "robot"
    with pytest.raises(LocalError, match="does not authenticate the client"):
        service.refresh("refresh")


@pytest.mark.rfc(7523, "3(7)")
def test_each_attempt_has_a_new_grant(foreign: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    foreign.script["/token"] = [Answer(503, {}, {"Retry-After": "0"})]
    service = _grant(foreign, key, http)
    service.token()
    service.token("https://other.example")
    assert len({_claims(request)["jti"] for request in foreign.sent("/token")}) == 3
    assert _claims(foreign.sent("/token")[0])["sub"] == "billing"


def test_wrong_clock_heals_for_a_grant(foreign: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    """RFC 7521 section 4.1.1: its error is invalid_grant."""
    from email.utils import formatdate

    foreign.script["/token"] = [Answer(400, {"error": "invalid_grant"}, {"Date": formatdate(1_800_000_400)})]
    _grant(foreign, key, http, clock=lambda: 1_800_000_000.0).token()
    assert [_claims(request)["iat"] for request in foreign.sent("/token")] == [1_800_000_000, 1_800_000_400]


@pytest.mark.parametrize("error", ["invalid_grant", "invalid_request", "access_denied", "something_else"])
def test_permanent_errors_are_remembered(foreign: Foreign, http: httpx2.Client, key: PrivateKey, error: str) -> None:
    foreign.default["/token"] = Answer(400, {"error": error})
    service = _grant(foreign, key, http)
    for _ in range(5):
        with pytest.raises(Refused, match=error):
            service.token()
    assert len(foreign.sent("/token")) == 1


@pytest.mark.parametrize(
    ("status", "error"), [(400, "temporarily_unavailable"), (400, "slow_down"), (500, "server_error")]
)
def test_passing_errors_are_not(
    foreign: Foreign, http: httpx2.Client, key: PrivateKey, status: int, error: str
) -> None:
    foreign.script["/token"] = [Answer(status, {"error": error})]
    service = _grant(foreign, key, http)
    with pytest.raises(Refused):
        service.token()
    assert service.token().value


def test_fall_back_is_for_grants_too(foreign: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    foreign.script["/token"] = [Answer(400, {"error": "invalid_grant"})]
    assert _grant(foreign, key, http, unsafe_audience="fallback").token().value
    assert [_claims(request)["aud"] for request in foreign.sent("/token")] == [foreign.url, f"{foreign.url}/token"]
