"""The profiles, against servers that enforce what the field requires (imitation.py)."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.auth.transport.requests import Request as Transport
from google.oauth2 import service_account
from tests.rsa_keys import rsa_2048
from tests.unit.client.imitation import ASSERTION_TYPE, JWT_BEARER, RULES, Imitation, PrivateKey

from affiant import Service
from affiant.client.credentials import own_key, search
from affiant.client.credentials.file import Credentials
from affiant.client.protocol.profiles import PROFILES
from affiant.errors import LocalError, Refused

KID = "key-1"
SCOPES: dict[str, str | None] = {
    "smart": "system/Patient.rs",
    "maskinporten": "ks:orders.read",
    "google": "https://www.googleapis.com/auth/devstorage.read_only",
    "nhs": None,
    "salesforce": None,
    "fapi": None,
}


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa_2048()


@pytest.fixture(scope="session")
def stranger() -> rsa.RSAPrivateKey:
    return rsa_2048(2)


@pytest.fixture(scope="session")
def p384() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


@pytest.fixture
def imitate(rsa_key: PrivateKey) -> Iterator[Callable[[str], Imitation]]:
    """Start the server of a field."""
    started = []

    def start(name: str, *, key: PrivateKey = rsa_key) -> Imitation:
        started.append(Imitation(RULES[name], {KID: key}))
        return started[-1]

    yield start
    for server in started:
        server.close()


def _pem(key: PrivateKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def _options(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"profile": name, "scope": SCOPES[name]}
    if name == "salesforce":
        found["subject"] = "robot@example.com"
    if name == "fapi":
        found["dpop"] = True
    return found


@pytest.mark.parametrize("name", PROFILES)
def test_profile_is_accepted_by_a_server_of_its_field(
    imitate: Callable[[str], Imitation], rsa_key: PrivateKey, http: httpx2.Client, name: str
) -> None:
    """The key is a plain RSA key, and the profile chooses its algorithm."""
    server = imitate(name)
    service = Service(server.url, "billing", key=_pem(rsa_key), kid=KID, http=http, **_options(name))
    assert service.token().value == "token-1"
    assert service.token("https://other.example").value == "token-2"  # by a new assertion
    assert server.mistakes == []


DEFAULT_MISTAKES = {
    "smart": "alg",
    "nhs": "alg",
    "maskinporten": "grant_type",
    "google": "grant_type",
    "salesforce": "grant_type",
    "fapi": "alg",
}


@pytest.mark.parametrize("name", PROFILES)
def test_service_without_the_profile_is_refused(
    imitate: Callable[[str], Imitation], rsa_key: PrivateKey, http: httpx2.Client, name: str
) -> None:
    server = imitate(name)
    with pytest.raises(Refused):
        Service(server.url, "billing", key=_pem(rsa_key), kid=KID, scope=SCOPES[name], http=http).token()
    assert server.mistakes == [DEFAULT_MISTAKES[name]]


PARTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "smart: aud": ("smart", {"alg": "RS384", "header": {"typ": "JWT"}}, "aud"),
    "smart: typ": ("smart", {"alg": "RS384", "unsafe_audience": "token_endpoint"}, "typ"),
    "smart: life": ("smart", {"alg": "RS384", "header": {"typ": "JWT"}, "unsafe_audience": "token_endpoint", "lifetime": 330}, "exp"),
    "nhs: kid": ("nhs", {"alg": "RS512", "header": {"typ": "JWT"}, "unsafe_audience": "token_endpoint", "kid": None}, "kid"),
    "maskinporten: sub": ("maskinporten", {"grant": "jwt-bearer", "header": {"typ": "JWT"}}, "sub"),
    "salesforce: sub": ("salesforce", {"grant": "jwt-bearer", "header": {"typ": "JWT"}}, "sub"),
    "google: aud": ("google", {"grant": "jwt-bearer", "header": {"typ": "JWT"}, "subject": "robot@example.com"}, "aud"),
    "google: scope": (
        "google",
        {"grant": "jwt-bearer", "header": {"typ": "JWT"}, "unsafe_audience": "token_endpoint", "subject": "robot@example.com"},
        "scope in the form",
    ),
    "fapi: dpop": ("fapi", {"alg": "PS256"}, "Not enough segments"),
}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_a_profile_is_needed(
    imitate: Callable[[str], Imitation], rsa_key: PrivateKey, http: httpx2.Client, part: str
) -> None:
    """All but one of the profile's rules, by options of their own."""
    name, options, mistake = PARTS[part]
    server = imitate(name)
    with pytest.raises(Refused):
        Service(
            server.url, "billing", key=_pem(rsa_key), scope=SCOPES[name], http=http, **{"kid": KID, **options}
        ).token()
    assert server.mistakes == [mistake]


NOW = -1  # replaced by the time of the test
CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "iss": ("iss", {"iss": "other"}),
    "sub": ("sub", {"sub": "other"}),
    "aud": ("aud", {"aud": "https://other.example"}),
    "aud in a list": ("aud", {"aud": [NOW]}),
    "expired": ("expired", {"exp": -1}),
    "exp too late": ("exp", {"exp": 3700}),
    "no exp": ("exp", {"exp": None}),
    "iat ahead": ("not yet valid", {"iat": 90}),
    "kid": ("kid", {"kid": "other"}),
    "typ": ("typ", {"typ": "at+jwt"}),
    "alg": ("alg", {"alg": "HS256"}),
}


def _send(server: Imitation, key: PrivateKey, http: httpx2.Client, change: dict[str, Any]) -> int:
    rules, now = server.rules, int(time.time())
    alg = "PS256" if rules.needs_dpop else next(alg for alg in rules.algs if alg.startswith("RS"))
    name = next(name for name in RULES if RULES[name] is rules)
    scope = {"scope": found} if (found := SCOPES[name]) else {}
    header: dict[str, Any] = {"alg": alg, "typ": "JWT", "kid": KID}
    claims: dict[str, Any] = {"iss": "billing", "aud": server.audience, "iat": now, "exp": now + 60, "jti": "one"}
    claims |= {"sub": "billing" if rules.subject == "iss" else "robot@example.com"}
    claims |= scope if rules.scope_in == "claim" else {}
    for member, value in change.items():
        (header if member in header else claims)[member] = now + value if isinstance(value, int) else value
    claims = {name: value for name, value in claims.items() if value is not None}
    used: Any = "s" * 32 if header["alg"] == "HS256" else key
    text = jwt.encode(claims, used, algorithm=header["alg"], headers=header)
    form = {"grant_type": JWT_BEARER, "assertion": text}
    if not rules.is_grant:
        form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": text}
        form |= scope
    proof = jwt.encode({}, "s" * 32, algorithm="HS256")
    return http.post(f"{server.url}/token", data=form, headers={"dpop": proof}).status_code


@pytest.mark.parametrize("name", RULES)
def test_imitation_refuses_each_mistake(
    imitate: Callable[[str], Imitation], rsa_key: PrivateKey, http: httpx2.Client, name: str
) -> None:
    """Or it would show nothing."""
    server = imitate(name)
    for mistake, members in CHANGES.values():
        change = {"aud": [server.audience]} if members.get("aud") == [NOW] else members
        assert _send(server, rsa_key, http, change) in (400, 401), change
        assert mistake in server.mistakes[-1]
    assert len(server.mistakes) == len(CHANGES)


@pytest.mark.parametrize("name", RULES)
def test_imitation_takes_what_is_right(
    imitate: Callable[[str], Imitation], rsa_key: PrivateKey, stranger: PrivateKey, http: httpx2.Client, name: str
) -> None:
    server = imitate(name)
    assert _send(server, stranger, http, {}) in (400, 401)
    assert server.mistakes == ["Signature verification failed"]
    assert _send(server, rsa_key, http, {}) == 200
    assert (_send(server, rsa_key, http, {}) == 200) == (not server.rules.needs_jti)


REFUSED_HERE: list[tuple[dict[str, Any], str]] = [
    ({"profile": "unknown"}, "one of smart, nhs"),
    ({"profile": "smart", "lifetime": 301}, "1 to 300 seconds for profile='smart'"),
    ({"profile": "maskinporten", "lifetime": 121}, "1 to 120 seconds"),
    ({"profile": "smart", "alg": "RS256"}, "takes keys for ES384 or RS384, and this one is for RS256"),
    ({"profile": "smart", "grant": "jwt-bearer"}, "another grant"),
    ({"profile": "salesforce"}, "needs subject="),
    ({"profile": "fapi"}, "bound to a key: dpop=True or certificate="),
    ({"profile": "fapi", "dpop": True, "token_endpoint": "https://as.example/token"}, "no token_endpoint="),
    ({"profile": "fapi", "dpop": True, "unsafe_audience": "token_endpoint"}, "no unsafe_audience="),
    ({"profile": "nhs", "key": None, "secret": "s"}, "needs a key"),
    ({"profile": "maskinporten", "claims": {"scope": "x"}}, "must not have 'scope'"),
    ({"grant": "jwt-bearer", "key": None, "secret": "s"}, "needs a key"),
    ({"grant": "password"}, "client_credentials or jwt-bearer"),
    ({"subject": "robot"}, "is for grant='jwt-bearer'"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED_HERE)
def test_what_the_field_forbids_is_rejected_at_once(rsa_key: PrivateKey, options: dict[str, Any], words: str) -> None:
    with pytest.raises(LocalError, match=words):
        Service("https://as.example", "billing", **{"key": _pem(rsa_key), **options})


@pytest.mark.parametrize(("name", "alg"), [("smart", "RS384"), ("nhs", "RS512"), ("maskinporten", "RS256")])
def test_credentials_file_leaves_the_algorithm_to_the_profile(
    rsa_key: PrivateKey, tmp_path: Path, name: str, alg: str
) -> None:
    """A key names no algorithm in PEM: it is the first of the profile that fits."""
    (tmp_path / "billing.pem").write_text(_pem(rsa_key))
    (tmp_path / "billing.pem").chmod(0o600)
    made = Credentials(
        "https://as.example", "billing", "private_key_jwt", key_file="billing.pem", kid="k", profile=name
    )
    made.write(tmp_path / "billing.affiant.json")
    found = search.find(tmp_path / "billing.affiant.json")
    Service.from_credentials(found)
    signer = own_key.load(found)
    assert signer is not None
    assert (signer.alg, signer.kid) == (alg, "k")


@pytest.mark.parametrize("name", ["smart", "maskinporten", "google"])
def test_scope_is_needed(rsa_key: PrivateKey, name: str) -> None:
    with pytest.raises(LocalError, match="needs a scope"):
        Service("https://as.example", "billing", key=_pem(rsa_key), profile=name).token()


def test_profile_takes_the_algorithm_of_another_key(
    imitate: Callable[..., Imitation], p384: PrivateKey, http: httpx2.Client
) -> None:
    server = imitate("smart", key=p384)
    Service(
        server.url, "billing", key=_pem(p384), kid=KID, profile="smart", scope="system/*.rs", http=http,
        header={"jku": "https://client.example/jwks.json"},
    ).token()  # fmt: skip
    header = jwt.get_unverified_header(server.sent("/token")[0].form["client_assertion"])
    assert (header["alg"], header["jku"]) == ("ES384", "https://client.example/jwks.json")


def test_smart_scope_must_be_one_of_the_system(
    imitate: Callable[[str], Imitation], rsa_key: PrivateKey, http: httpx2.Client
) -> None:
    server = imitate("smart")
    with pytest.raises(Refused):
        Service(
            server.url, "billing", key=_pem(rsa_key), kid=KID, profile="smart", scope="patient/*.rs", http=http
        ).token()
    assert server.mistakes == ["scope"]


def test_maskinporten_takes_a_chain_instead_of_a_kid(
    imitate: Callable[[str], Imitation], rsa_key: rsa.RSAPrivateKey, http: httpx2.Client
) -> None:
    """RFC 7515 section 4.1.6: base64, not base64url. The kid is then left out."""
    server = imitate("maskinporten")
    server.certificates["MIIC+leaf/=="] = rsa_key
    options: dict[str, Any] = {
        "profile": "maskinporten",
        "scope": "a",
        "header": {"x5c": ["MIIC+leaf/=="]},
        "http": http,
    }
    Service(server.url, "billing", key=_pem(rsa_key), **options).token()
    with pytest.raises(Refused):  # a kid that the caller names stays
        Service(server.url, "billing", key=_pem(rsa_key), kid=KID, **options).token()
    assert server.mistakes == ["x5c and kid"]


def test_resource_is_in_the_assertion(
    imitate: Callable[[str], Imitation], rsa_key: PrivateKey, http: httpx2.Client
) -> None:
    server = imitate("maskinporten")
    Service(
        server.url, "billing", key=_pem(rsa_key), kid=KID, profile="maskinporten", scope="a b", http=http,
        claims={"consumer_org": "910753614"},
    ).token("https://api.example")  # fmt: skip
    (sent,) = server.sent("/token")
    claims = jwt.decode(sent.form["assertion"], options={"verify_signature": False})
    assert (claims["scope"], claims["resource"], claims["consumer_org"]) == ("a b", "https://api.example", "910753614")
    assert set(sent.form) == {"grant_type", "assertion"}
    assert "sub" not in claims


def test_imitation_of_google_takes_what_its_own_library_sends(
    imitate: Callable[[str], Imitation], rsa_key: PrivateKey
) -> None:
    server = imitate("google")
    account = {"client_email": "billing", "private_key": _pem(rsa_key), "private_key_id": KID}
    found = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
        {**account, "token_uri": f"{server.url}/token"},
        scopes=[SCOPES["google"]],
        additional_claims={"aud": f"{server.url}/token"},
    )
    found.refresh(Transport())
    assert (found.token, server.mistakes) == ("token-1", [])
