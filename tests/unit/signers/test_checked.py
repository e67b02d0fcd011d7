"""Signatures of keys that are held elsewhere: their form and proof, and the error for a wrong one."""

import os
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from tests.rsa_keys import rsa_key

from affiant.client import Service
from affiant.errors import LocalError, RemoteError, Unreachable
from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey
from affiant.jose.signature_form import der_to_raw
from affiant.signers.checked import Checked
from affiant.signers.held import Description, HeldSigner, make_signer

DATA = b"header.claims"
SHA = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
KEYS = {alg: keys.generate(alg) for alg in ("ES256", "ES384", "ES512", "Ed25519")} | {"RS256": rsa_key()}
KEYS |= {alg: keys.parse_private_jwk(KEYS["RS256"].to_jwk() | {"alg": alg}) for alg in ("RS384", "PS256", "PS512")}


class Shelf:
    """Holds a key of this process, and signs as the test wants it."""

    def __init__(self, key: PrivateKey, answer: Callable[[bytes], Any] | None = None, *, public: Any = None) -> None:
        self.key = key
        self.answer = answer or key.sign
        self.public = public or key.public().key
        self.algorithms: tuple[str, ...] = (key.alg,)
        self.asked: list[str] = []
        self.error: Exception | None = None

    def connect(self) -> None:
        self.asked.append("connect")

    def describe(self) -> Description:
        self.asked.append("describe")
        if self.error is not None:
            raise self.error
        return Description(self.public, self.algorithms)

    def sign(self, alg: str, data: bytes) -> bytes:
        self.asked.append(alg)
        if self.error is not None:
            raise self.error
        return self.answer(data)


def checked(shelf: Shelf, alg: str | None = None) -> Checked:
    return make_signer(shelf, name="kms:orders", alg=alg)


@pytest.mark.parametrize("alg", KEYS)
def test_a_good_key_signs(alg: str) -> None:
    shelf = Shelf(KEYS[alg])
    signer = checked(shelf, alg)
    assert shelf.asked == []  # nothing is asked before it is needed
    made = compact.parse(Service("https://as.example", "billing", key=signer).assertion())
    compact.verify(made, KEYS[alg].public())
    assert (made.alg, made.kid) == (alg, KEYS[alg].public().thumbprint)
    signer.sign(DATA)
    assert shelf.asked == ["connect", "describe", alg, alg]


def der(raw: bytes) -> bytes:
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


def ec_sign(alg: str, key: PrivateKey, digest: HashAlgorithm, data: bytes = DATA) -> bytes:
    assert isinstance(key.key, ec.EllipticCurvePrivateKey)
    return der_to_raw(alg, key.key.sign(data, ec.ECDSA(digest)))


def rsa_sign(alg: str, pad: padding.AsymmetricPadding, size: str, data: bytes = DATA) -> bytes:
    key = KEYS[alg].key
    assert isinstance(key, rsa.RSAPrivateKey)
    return key.sign(data, pad, SHA[size])


def hashed(size: str) -> bytes:
    digest = hashes.Hash(SHA[size])
    digest.update(DATA)
    return digest.finalize()


def pss(size: str, salt: int) -> padding.PSS:
    return padding.PSS(padding.MGF1(SHA[size]), salt)


WRONG: dict[str, tuple[str, Callable[[bytes], Any], str]] = {
    "der": ("ES256", lambda d: der(KEYS["ES256"].sign(d)), "a JWS wants r and s side by side"),
    "text": ("ES256", lambda _: "vault:v1:MEUC", "returned str, not bytes"),
    "short": ("RS256", lambda _: bytes(256), "returned 256 bytes; a signature by this key has 384"),
    "nothing": ("ES384", lambda _: b"", "returned 0 bytes; a signature by ES384 has 96"),
    "other key": ("ES256", keys.generate("ES256").sign, "another key made it"),
    "other Ed25519 key": ("Ed25519", keys.generate("Ed25519").sign, "another key made it"),
    "other bytes": ("RS256", lambda d: KEYS["RS256"].sign(d + b"."), "another key made it, or it is over other bytes"),
    "SHA-256 for ES384": ("ES384", lambda _: ec_sign("ES384", KEYS["ES384"], SHA["256"]), "its hash is SHA-256"),
    "hashed twice": (
        "ES256",
        lambda _: ec_sign("ES256", KEYS["ES256"], SHA["256"], hashed("256")),
        "the hash of the digest",
    ),
    "hashed twice, RSA": (
        "RS256",
        lambda _: rsa_sign("RS256", padding.PKCS1v15(), "256", hashed("256")),
        "the hash of the digest",
    ),
    "salt": ("PS256", lambda _: rsa_sign("PS256", pss("256", 350), "256"), "its salt is not as long as the hash"),
    "PKCS #1": ("PS256", lambda _: rsa_sign("PS256", padding.PKCS1v15(), "256"), "its padding is PKCS #1 v1.5"),
    "PSS": ("RS256", lambda _: rsa_sign("RS256", pss("256", 32), "256"), "its padding is PSS"),
    "SHA-256 for PS512": ("PS512", lambda _: rsa_sign("PS512", pss("256", 32), "256"), "its hash is SHA-256"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_signature_is_named(wrong: str) -> None:
    alg, answer, words = WRONG[wrong]
    with pytest.raises(LocalError, match=words) as caught:
        checked(Shelf(KEYS[alg], answer), alg).sign(DATA)
    assert str(caught.value).startswith("kms:orders ")


def test_each_signature_is_verified() -> None:
    """A KMS, or what is between, may answer well once, and then with the signature of another key or request."""
    shelf = Shelf(KEYS["ES256"])
    signer = checked(shelf)
    for answer in (lambda _: bytes(64), keys.generate("ES256").sign, lambda d: KEYS["ES256"].sign(d + b".")):
        shelf.answer = KEYS["ES256"].sign
        KEYS["ES256"].public().verify("ES256", DATA, signer.sign(DATA))
        shelf.answer = answer
        with pytest.raises(LocalError, match="does not verify with its public key"):
            signer.sign(DATA)
    shelf.answer = lambda _: bytes(63)
    with pytest.raises(LocalError, match="63 bytes"):
        signer.sign(DATA)


@pytest.mark.parametrize("cold", [True, False])
def test_an_answer_that_cannot_be_read_is_one_error_without_its_text(*, cold: bool) -> None:
    shelf = Shelf(KEYS["ES256"])
    signer = checked(shelf)
    if not cold:
        signer.public()
    shelf.error = TypeError("canary of the answer")
    with pytest.raises(RemoteError, match=r"kms:orders: the answer cannot be read \(TypeError\)") as caught:
        signer.sign(DATA)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_service_that_is_away_costs_one_client() -> None:
    shelf = Shelf(KEYS["ES256"])
    shelf.error = Unreachable("no answer")
    signer = checked(shelf)
    for _ in range(5):
        with pytest.raises(Unreachable):
            signer.sign(DATA)
    assert shelf.asked == ["connect", *["describe"] * 5]


def test_a_forked_child_connects_by_itself() -> None:
    """A connection that it shares with its parent has the answers for both; and another thread may hold the lock."""
    shelf = Shelf(KEYS["ES256"])
    signer = HeldSigner(shelf, name="kms:orders")
    signer.sign(DATA)
    read, write = os.pipe()
    with signer._lock:
        child = os.fork()
        if child == 0:
            try:
                shelf.asked.clear()
                signer.sign(DATA)
                signer.sign(DATA)
                os.write(write, " ".join(shelf.asked).encode())
            finally:
                os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == "connect describe ES256 ES256"
    os.waitpid(child, 0)
    signer.sign(DATA)
    assert shelf.asked == ["connect", "describe", "ES256", "ES256"]


def test_the_public_key_has_the_name_and_algorithm_of_the_header() -> None:
    signer = make_signer(Shelf(KEYS["ES256"]), name="kms:orders", kid="orders-2026")
    assert signer.public().to_jwk() == {**KEYS["ES256"].public().to_jwk(), "kid": "orders-2026"}
    assert (signer.alg, signer.kid) == ("ES256", "orders-2026")


@pytest.mark.parametrize(
    ("algorithms", "wanted", "words"),
    [
        (("RS256", "PS256"), "ES256", "is a key for RS256 or PS256, not for ES256"),
        (("PS256",), "RS256", "is a key for PS256, not for RS256"),
        ((), None, "is a key for nothing that a JWS knows"),
        (("ES256",), None, "is a key for nothing that a JWS knows"),  # the description does not fit the key
    ],
)
def test_another_algorithm_is_refused(algorithms: tuple[str, ...], wanted: str | None, words: str) -> None:
    shelf = Shelf(KEYS["RS256"])
    shelf.algorithms = algorithms
    with pytest.raises(LocalError, match=f"kms:orders {words}"):
        checked(shelf, wanted).sign(DATA)


@pytest.mark.parametrize(("algorithms", "chosen"), [(("PS512", "RS256"), "RS256"), (("PS512", "PS256"), "PS512")])
def test_an_algorithm_is_chosen(algorithms: tuple[str, ...], chosen: str) -> None:
    shelf = Shelf(KEYS["RS256"])
    shelf.algorithms = algorithms
    assert checked(shelf).alg == chosen


def test_both_names_of_ed25519_will_do() -> None:
    assert checked(Shelf(KEYS["Ed25519"])).alg == "Ed25519"
    assert checked(Shelf(KEYS["Ed25519"]), "EdDSA").alg == "EdDSA"


def test_a_weak_or_strange_key_is_refused() -> None:
    small = rsa.generate_private_key(65537, 1024).public_key()
    with pytest.raises(LocalError, match="kms:orders cannot be used: "):
        checked(Shelf(KEYS["RS256"], public=small)).sign(DATA)
    with pytest.raises(LocalError, match="kms:orders cannot be used: the curve must be P-256"):
        checked(Shelf(KEYS["ES256"], public=ec.generate_private_key(ec.SECP256K1()).public_key())).sign(DATA)


def test_a_refused_key_is_not_asked_in_a_flood() -> None:
    now = 0.0
    shelf = Shelf(KEYS["ES256"])
    shelf.error = LocalError("the key is disabled")
    signer = HeldSigner(shelf, name="kms:orders", clock=lambda: now)
    for _ in range(5):
        with pytest.raises(LocalError, match="the key is disabled"):
            signer.sign(DATA)
    assert shelf.asked == ["connect", "describe"]
    now, shelf.error = 6.0, None
    signer.sign(DATA)
    assert shelf.asked == ["connect", "describe", "describe", "ES256"]


def test_a_holder_that_is_away_is_asked_again() -> None:
    shelf = Shelf(KEYS["ES256"])
    shelf.error = Unreachable("no answer")
    signer = checked(shelf)
    with pytest.raises(Unreachable):
        signer.sign(DATA)
    shelf.error = None
    signer.sign(DATA)


def test_a_signer_is_not_pickled() -> None:
    signer = checked(Shelf(KEYS["ES256"]))
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(signer)
    assert repr(signer) == "Checked('kms:orders')"
