"""Service: what it is made of, and what it never shows."""

import base64
import copy
import json
import pickle
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from tests.unit.client.conftest import Answer, Foreign, token_answer

from affiant import Service
from affiant.cli.registry.handover.ticket import Ticket
from affiant.client import Assertion, SecretBasic, SecretPost, Token
from affiant.client.credentials.file import Credentials
from affiant.errors import LocalError, Refused, RemoteError
from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey, SecretKey

CANARY = "canary-5f1d0c6e7a934b21-canary-5f1d0c6e7a934b21"
ISSUER = "https://as.example"


def _pem(key: PrivateKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


SHAPES: dict[str, Callable[[PrivateKey, Path], Any]] = {
    "signer": lambda key, _: key,
    "cryptography": lambda key, _: key.key,
    "jwk": lambda key, _: key.to_jwk(),
    "jwk text": lambda key, _: json.dumps(key.to_jwk()),
    "pem": lambda key, _: _pem(key),
    "pem bytes": lambda key, _: _pem(key).encode(),
    "path": lambda _, path: path,
    "path text": lambda _, path: str(path),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_key_comes_in_any_shape(key: PrivateKey, tmp_path: Path, shape: str) -> None:
    path = tmp_path / "billing.pem"
    path.write_text(json.dumps(key.to_jwk()))
    path.chmod(0o600)
    made = compact.parse(Service(ISSUER, "billing", key=SHAPES[shape](key, path)).assertion())
    assert compact.verify(made, key.public()).claims["aud"] == ISSUER
    assert (made.kid, made.header["typ"]) == (key.kid, "client-authentication+jwt")


def test_kid_may_be_given(key: PrivateKey) -> None:
    made = compact.parse(Service(ISSUER, "billing", key=key, kid="mine").assertion())
    assert made.kid == "mine"
    compact.verify(made, key.public())


class Kms:
    """A key in a foreign service, with its own way to sign."""

    kid = "kms"

    def __init__(self, alg: str, answer: Callable[[bytes], Any]) -> None:
        self.alg, self.sign = alg, answer


async def _later(_: bytes) -> bytes:
    return b""


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (7, "not int"),
        (object(), "not object"),
        (["-----BEGIN"], "not list"),
        (Kms("ES256", None), "not Kms"),  # type: ignore[arg-type]
        (Kms(None, bytes), "not Kms"),  # type: ignore[arg-type]
    ],
)
def test_wrong_object_is_rejected_when_it_is_given(wrong: Any, words: str) -> None:
    for name in ("key", "dpop"):
        with pytest.raises(LocalError, match=words):
            Service(ISSUER, "billing", **{name: wrong, **({"secret": "s"} if name == "dpop" else {})})


@pytest.mark.parametrize(
    ("alg", "answer", "words"),
    [
        ("ES256", lambda _: encode_dss_signature(1 << 255, 1 << 255), "returned DER; a JWS wants r and s side by side"),
        ("ES384", lambda _: encode_dss_signature(1 << 380, 1 << 380), "96 bytes"),
        ("ES256", lambda _: bytes(63), "returned 63 bytes; a signature by ES256 has 64 bytes"),
        ("ES256", lambda _: b"ab" * 64, "128 bytes of hexadecimal"),
        ("ES256", lambda _: base64.b64encode(bytes(64)), "88 bytes of base64"),
        ("RS256", lambda _: bytes(64), "256 to 1024 bytes"),
        ("Ed25519", lambda _: "x" * 64, "returned str, not bytes"),
        ("ES256", lambda _: None, "returned NoneType, not bytes"),
        ("ES256", _later, "returned 0 bytes"),
    ],
)
def test_impossible_signature_is_not_sent(alg: str, answer: Callable[[bytes], Any], words: str) -> None:
    """The server would say no more of it than that client authentication failed."""
    with pytest.raises(LocalError, match=words):
        Service(ISSUER, "billing", key=Kms(alg, answer)).assertion()


@pytest.mark.parametrize("alg", ["ES256", "ES512", "RS256", "PS256", "Ed25519", "EdDSA", "ML-DSA-44"])
def test_any_object_that_signs_will_do(alg: str) -> None:
    key = keys.generate(alg)
    made = compact.parse(Service(ISSUER, "billing", key=Kms(alg, key.sign)).assertion())
    compact.verify(made, key.public())


def test_assertions_are_new_each_time(key: PrivateKey) -> None:
    service = Service(ISSUER, "billing", key=key)
    assert len({compact.parse(service.assertion()).claims["jti"] for _ in range(3)}) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "either a key or a secret"),
        ({"key": "both", "secret": CANARY}, "either a key or a secret"),
        ({"secret": ""}, "empty"),
        ({"secret": CANARY, "auth_method": "private_key_jwt"}, "cannot be used with a secret"),
        ({"secret": CANARY, "auth_method": "none"}, "cannot be used with a secret"),
        ({"key": {"kty": "EC"}, "auth_method": "client_secret_basic"}, "cannot be used with a key"),
        ({"key": {"kty": "oct", "k": CANARY}}, "secret="),
        ({"key": "/nowhere/" + CANARY}, "no file that can be read"),
        ({"key": "{" + CANARY}, "not JSON"),
        ({"key": "-----BEGIN PRIVATE KEY-----\n" + CANARY}, "PEM"),
        ({"secret": "short", "auth_method": "client_secret_jwt"}, "at least 32 bytes"),
    ],
)
def test_unusable_options_are_rejected_at_once(options: dict[str, Any], words: str) -> None:
    with pytest.raises(LocalError, match=words) as caught:
        Service(ISSUER, "billing", **options)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_async_client_is_refused(key: PrivateKey) -> None:
    with pytest.raises(LocalError, match=r"httpx2\.Client"):
        Service(ISSUER, "billing", key=key, http=httpx2.AsyncClient())  # type: ignore[arg-type]


def test_secret_alone_signs_nothing() -> None:
    with pytest.raises(LocalError, match="no key"):
        Service(ISSUER, "billing", secret=CANARY).assertion()


def test_secret_may_sign(foreign: Foreign) -> None:
    Service(foreign.url, "billing", secret=CANARY, auth_method="client_secret_jwt").token()
    (sent,) = foreign.sent("/token")
    compact.verify(compact.parse(sent.form["client_assertion"]), SecretKey(CANARY.encode()))
    assert "client_secret" not in sent.form


def test_refresh_token_is_used(foreign: Foreign, key: PrivateKey) -> None:
    foreign.script["/token"] = [token_answer("t", refresh_token="r-1")]
    service = Service(foreign.url, "billing", key=key)
    assert service.refresh(service.token().refresh_token or "").access_token == "token-1"
    assert foreign.sent("/token")[1].form["grant_type"] == "refresh_token"
    assert foreign.sent("/token")[1].form["refresh_token"] == "r-1"


def test_metadata_are_fetched_once_and_again_after_a_failure(foreign: Foreign, key: PrivateKey) -> None:
    service = Service(foreign.url, "billing", key=key)
    well_known = "/.well-known/oauth-authorization-server"
    service.token("https://a.example")
    service.token("https://b.example")
    assert len(foreign.sent(well_known)) == 1
    foreign.script["/token"] = [Answer(404, {})]
    with pytest.raises(RemoteError):
        service.token("https://c.example")
    service.token("https://c.example")
    assert len(foreign.sent(well_known)) == 2


HOLDERS: dict[str, Callable[[], object]] = {
    "token": lambda: Token(CANARY, time.time() + 60, None, refresh_token=CANARY),
    "service": lambda: Service(ISSUER, "billing", secret=CANARY),
    "auth": lambda: Service(ISSUER, "billing", secret=CANARY).auth("https://orders.example"),
    "basic": lambda: SecretBasic(CANARY),
    "post": lambda: SecretPost(CANARY),
    "assertion": lambda: Assertion(SecretKey(CANARY.encode())),
    "secret": lambda: SecretKey(CANARY.encode()),
    "credentials": lambda: Credentials(ISSUER, "billing", "client_secret_basic", client_secret=CANARY),
    "ticket": lambda: Ticket(ISSUER, CANARY),
}


@pytest.mark.attack(277)
@pytest.mark.parametrize("holder", list(HOLDERS))
def test_secrets_are_not_shown_and_not_pickled(holder: str) -> None:
    made = HOLDERS[holder]()
    assert CANARY not in f"{made!r} {made!s} {made:}"
    for take_along in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError) as caught:
            take_along(made)
        assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.attack(278)
@pytest.mark.parametrize("answer", [Answer(401, {"error": "invalid_client"}), Answer(500, raw=b"?"), Answer(302)])
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "client_secret_jwt"])
def test_failures_do_not_show_the_secret(foreign: Foreign, answer: Answer, method: str) -> None:
    foreign.default["/token"] = answer
    with pytest.raises(RemoteError) as caught:
        Service(foreign.url, "billing", secret=CANARY, auth_method=method).token()
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_client_loads_alone() -> None:
    program = "import sys; from affiant import Service; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    roots = {".".join(name.split(".")[: 2 if name.startswith("affiant.") else 1]) for name in loaded}
    assert not {"affiant.server", "affiant.resource", "uvicorn", "starlette", "httpx2", "httpx", "requests"} & roots


@pytest.mark.rfc(8414, "2")
def test_server_without_jwks_uri_gives_tokens(foreign: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    """A client does not need the server's keys: only verifiers of tokens do."""
    members = {"issuer": foreign.url, "token_endpoint": f"{foreign.url}/token"}
    foreign.default["/.well-known/oauth-authorization-server"] = Answer(200, members)
    assert Service(foreign.url, "billing", key=key, http=http).token().value == "token-1"


@pytest.mark.rfc(8414, "3.3")
def test_issuer_with_a_slash_is_compared_as_it_is(foreign: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    issuer = f"{foreign.url}/"
    members = {"issuer": issuer, "token_endpoint": f"{foreign.url}/token"}
    foreign.default["/.well-known/oauth-authorization-server"] = Answer(200, members)
    assert Service(issuer, "billing", key=key, http=http).token().value == "token-1"
    assert foreign.sent("/token")[0].assertion["aud"] == issuer
    with pytest.raises(RemoteError, match="another issuer"):
        Service(foreign.url, "billing", key=key, http=http).token()


def test_key_that_was_rotated_in_the_file_is_read_again(
    foreign: Foreign, http: httpx2.Client, key: PrivateKey, tmp_path: Path
) -> None:
    """Once, when the server refuses the client; another client's file, or the same key, is no reason to ask again."""
    path, refused = tmp_path / "billing.affiant.json", Answer(401, {"error": "invalid_client"})
    kept = Credentials(foreign.url, "billing", "private_key_jwt", key=key.to_jwk())
    kept.write(path)
    service = Service.from_credentials(path, http=http)
    foreign.script["/token"] = [refused]
    with pytest.raises(Refused):
        service.token(scope="a")
    replace(kept, client_id="other", key=keys.generate("ES256").to_jwk()).replace(path)
    foreign.script["/token"] = [refused]
    with pytest.raises(Refused):
        service.token(scope="b")
    assert len(foreign.sent("/token")) == 2

    successor = keys.generate("ES256")
    replace(kept, key=successor.to_jwk()).replace(path)
    foreign.script["/token"] = [refused]
    assert service.token(scope="c").value
    assert compact.parse(service.assertion()).kid == successor.kid
    assert len(foreign.sent("/token")) == 4


def test_file_that_cannot_be_read_leaves_the_refusal(
    foreign: Foreign, http: httpx2.Client, key: PrivateKey, tmp_path: Path
) -> None:
    path = tmp_path / "billing.affiant.json"
    Credentials(foreign.url, "billing", "private_key_jwt", key=key.to_jwk()).write(path)
    service = Service.from_credentials(path, http=http)
    path.unlink()
    foreign.script["/token"] = [Answer(401, {"error": "invalid_client"})]
    with pytest.raises(Refused, match="invalid_client"):
        service.token()
