"""Keys in containers: JWK Sets, PKCS #12, DER, encrypted PEM, and the key files of Google and ZITADEL."""

import json
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rsa_keys import rsa_key

from affiant import Service
from affiant.errors import ConfigError, LocalError
from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey
from affiant.signers.forms.rounds import MAX_ROUNDS
from affiant.signers.local import load_signer
from affiant.signers.sources import find_mark

KEYS = {alg: keys.generate(alg) for alg in ("ES256", "ES384", "Ed25519")} | {"RS256": rsa_key()}
KEY, OTHER = KEYS["ES256"], KEYS["ES384"]
PASSWORD = "pass word\u00e9-canary"
WRAPS: dict[str, Callable[[bytes], Any]] = {"bytes": bytes, "base64": lambda data: b64encode(data).decode()}


def encrypted(form: PrivateFormat, key: PrivateKey = KEY, encoding: Encoding = Encoding.PEM) -> bytes:
    return key.key.private_bytes(encoding, form, BestAvailableEncryption(PASSWORD.encode()))


def bundle(key: PrivateKey = KEY, password: str | None = PASSWORD) -> bytes:
    protection: KeySerializationEncryption = NoEncryption()
    if password is not None:
        protection = BestAvailableEncryption(password.encode())
    return pkcs12.serialize_key_and_certificates(b"billing", key.key, None, None, protection)  # type: ignore[arg-type]


def public_of(signer: Any) -> keys.PublicKey:
    assert isinstance(signer, PrivateKey)
    return signer.public()


@pytest.fixture(params=["argument", "variable", "file"])
def give(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Any]:
    """Give a password by one of the three ways; what to pass as `password`."""

    def way(password: str) -> str | None:
        path = tmp_path / "password"
        path.write_text(f"{password}\n")
        path.chmod(0o600)
        if request.param == "variable":
            monkeypatch.setenv("AFFIANT_KEY_PASSWORD", password)
        if request.param == "file":
            monkeypatch.setenv("AFFIANT_KEY_PASSWORD_FILE", str(path))
        return password if request.param == "argument" else None

    return way


ENCRYPTED: dict[str, Any] = {
    "PKCS #8": encrypted(PrivateFormat.PKCS8).decode(),
    "SEC 1": encrypted(PrivateFormat.TraditionalOpenSSL).decode(),
    "PKCS #1": encrypted(PrivateFormat.TraditionalOpenSSL, KEYS["RS256"]).decode(),
    "DER": encrypted(PrivateFormat.PKCS8, encoding=Encoding.DER),
    "PKCS #12": bundle(),
    "PKCS #12, base64": b64encode(bundle()),
    "line ends escaped": encrypted(PrivateFormat.TraditionalOpenSSL).decode().replace("\n", "\\n"),
    "line ends lost": encrypted(PrivateFormat.TraditionalOpenSSL).decode().replace("\n", " "),
}


@pytest.mark.parametrize("form", ENCRYPTED)
def test_an_encrypted_key_is_opened(form: str, give: Callable[[str], Any]) -> None:
    key = KEYS["RS256"] if form == "PKCS #1" else KEY
    assert public_of(load_signer(ENCRYPTED[form], password=give(PASSWORD))) == key.public()


@pytest.mark.parametrize("form", ENCRYPTED)
def test_a_wrong_or_missing_password_is_named_and_not_shown(form: str, give: Callable[[str], Any]) -> None:
    with pytest.raises(ConfigError, match="is encrypted: give its password as  key_password=") as missing:
        load_signer(ENCRYPTED[form])
    with pytest.raises(ConfigError, match="the password does not open the private key") as wrong:
        load_signer(ENCRYPTED[form], password=give("another-canary"))
    assert "canary" not in f"{missing.value!r}{wrong.value!r}{wrong.value.__context__!r}"


def test_a_password_for_a_key_without_one_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (KEY.to_jwk(), KEY, bundle(password=None)):
        with pytest.raises(LocalError, match="this key is not encrypted"):
            load_signer(key, password=PASSWORD)
    for wrong in ("", b"", 7):
        with pytest.raises(LocalError, match="key_password= is empty"):
            load_signer(ENCRYPTED["PKCS #8"], password=wrong)  # type: ignore[arg-type]
    with pytest.raises(LocalError, match="key= is not"):
        Service("https://as.example", "c", secret="s", key_password=PASSWORD)
    monkeypatch.setenv("AFFIANT_KEY_PASSWORD", PASSWORD)  # may be meant for another key
    assert load_signer(KEY.to_jwk()).kid == KEY.kid


def test_the_two_variables_contradict_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AFFIANT_KEY_PASSWORD_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="FILE names cannot be read: there is no such file"):
        load_signer(ENCRYPTED["PKCS #8"])
    monkeypatch.setenv("AFFIANT_KEY_PASSWORD", PASSWORD)
    with pytest.raises(ConfigError, match="are both set: unset one"):
        load_signer(ENCRYPTED["PKCS #8"])


def test_a_password_file_that_others_may_read_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(PASSWORD)
    path.chmod(0o644)
    monkeypatch.setenv("AFFIANT_KEY_PASSWORD_FILE", str(path))
    with pytest.raises(ConfigError, match=f"others may read {path}.*chmod 600"):
        load_signer(ENCRYPTED["PKCS #8"])


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("alg", KEYS)
def test_der_and_pkcs12_without_password_are_taken(alg: str, wrap: str) -> None:
    key = KEYS[alg].key
    forms = [PrivateFormat.PKCS8] if alg == "Ed25519" else [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL]
    made = [key.private_bytes(Encoding.DER, form, NoEncryption()) for form in forms]
    for data in (*made, bundle(KEYS[alg], None)):
        assert public_of(load_signer(WRAPS[wrap](data), alg)) == KEYS[alg].public()


def test_what_openssl_exports_is_taken(tmp_path: Path) -> None:
    """Also with the legacy encryption that other tools still write."""
    path = tmp_path / "key.pem"
    path.write_bytes(KEY.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for more in ([], ["-keypbe", "PBE-SHA1-3DES", "-macalg", "SHA1"]):
        words = ["openssl", "pkcs12", "-export", "-nocerts", "-inkey", str(path), "-passout", "pass:x", *more]
        try:
            done = subprocess.run(words, check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip("openssl is not installed")
        assert public_of(load_signer(done.stdout, password="x")) == KEY.public()


def many_rounds(rounds: int) -> Iterator[bytes]:
    """Encrypted keys that a library would hash the password for so often."""
    asn1_keys, asn1_pkcs12 = import_module("asn1crypto.keys"), import_module("asn1crypto.pkcs12")  # without types
    derived = asn1_keys.EncryptedPrivateKeyInfo.load(encrypted(PrivateFormat.PKCS8, encoding=Encoding.DER))
    derived["encryption_algorithm"]["parameters"]["key_derivation_func"]["parameters"]["iteration_count"] = rounds
    yield derived.dump(force=True)
    for salt in (bytes(8), bytes(20)):
        container = asn1_pkcs12.Pfx.load(bundle())
        container["mac_data"]["mac_salt"], container["mac_data"]["iterations"] = salt, rounds
        yield container.dump(force=True)
    container = asn1_pkcs12.Pfx.load(bundle())
    safe = asn1_pkcs12.AuthenticatedSafe.load(container["auth_safe"]["content"].native)
    bags = asn1_pkcs12.SafeContents.load(safe[0]["content"].native)
    bags[0]["bag_value"]["encryption_algorithm"]["parameters"]["key_derivation_func"]["parameters"][
        "iteration_count"
    ] = rounds
    safe[0]["content"] = bags.dump(force=True)
    container["auth_safe"]["content"] = safe.dump(force=True)
    yield container.dump(force=True)


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_key_that_takes_minutes_to_open_is_refused_at_once(wrap: str) -> None:
    """Attack: the number is in the file, and the library that counts to it can be stopped by nothing."""
    for data in many_rounds(MAX_ROUNDS + 1):
        with pytest.raises(ConfigError, match="so many rounds"):
            load_signer(WRAPS[wrap](data), password=PASSWORD)


def test_a_password_that_is_not_utf8_does_not_open_a_container() -> None:
    with pytest.raises(ConfigError, match="the password does not open"):
        load_signer(bundle(), password=b"\xff")


def test_a_container_without_a_private_key_is_named() -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "c")])
    now = datetime.now(UTC)
    private: Any = KEY.key
    builder = x509.CertificateBuilder(name, name, private.public_key(), 1, now, now + timedelta(1))
    made = builder.sign(private, hashes.SHA256())
    alone = pkcs12.serialize_key_and_certificates(b"c", None, made, None, NoEncryption())
    for data, said in (
        (alone, "certificates and no private key"),
        (made.public_bytes(Encoding.DER), "PEM of: CERTIFICATE"),
        (KEY.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), "PEM of: PUBLIC KEY"),
        (b"\xfe\xed\xfe\xed\x00\x00\x00\x02" + bytes(40), r"keystore of Java.*keytool -importkeystore"),
    ):
        for wrap in WRAPS.values():
            with pytest.raises(ConfigError, match=said):
                load_signer(wrap(data))


def jwks(*members: dict[str, Any]) -> str:
    return json.dumps({"keys": list(members)})


NOISE = [KEYS["RS256"].public().to_jwk(), {"kty": "oct", "k": "AAAA"}, {"kty": "new"}, {**OTHER.to_jwk(), "use": "enc"}]


def test_the_one_key_of_a_set_that_signs_is_taken() -> None:
    """RFC 7517 section 5: members that are not understood are ignored."""
    assert load_signer(jwks(*NOISE, KEY.to_jwk())).kid == KEY.kid
    assert load_signer(json.loads(jwks(KEY.to_jwk()))).kid == KEY.kid


def test_a_kid_chooses_from_a_set() -> None:
    text = jwks(*NOISE, {**KEY.to_jwk(), "kid": "a"}, {**OTHER.to_jwk(), "kid": "b"})
    for kid, alg in (("a", "ES256"), ("b", "ES384")):
        chosen = load_signer(text, kid=kid)
        assert (chosen.kid, chosen.alg) == (kid, alg)
    with pytest.raises(ConfigError, match=r'2 private keys: choose one by  kid=  of "a", "b"$'):
        load_signer(text)
    with pytest.raises(ConfigError, match=r'no key with the kid "c": it has .*"a", "b"$'):
        load_signer(text, kid="c")
    with pytest.raises(ConfigError, match=r"the key with that kid cannot sign.*no private part"):
        load_signer(jwks(KEYS["RS256"].public().to_jwk()), kid=KEYS["RS256"].kid)
    assert load_signer(text, "ES384").kid == "b"


def test_kids_are_escaped_in_messages() -> None:
    text = jwks({**KEY.to_jwk(), "kid": "\x1b[2Ja"}, {**OTHER.to_jwk(), "kid": "b" * 99})
    with pytest.raises(ConfigError, match="has no key with the kid") as refused:
        load_signer(text, kid="missing")
    assert str(refused.value).isprintable()
    assert "b" * 65 not in str(refused.value)


PEM = KEYS["RS256"].key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
KEY_FILES = {
    "google": {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "k-1",
        "private_key": PEM,
        "client_email": "b@p.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    },
    "zitadel user": {"type": "serviceaccount", "keyId": "k-1", "key": PEM, "userId": "42"},
    "zitadel application": {"type": "application", "keyId": "k-1", "key": PEM, "appId": "7", "clientId": "42@p"},
}


@pytest.mark.parametrize("name", KEY_FILES)
@pytest.mark.parametrize("spelt", [str, dict, "file", "base64"])
def test_key_files_of_other_servers_are_read(name: str, spelt: Any, tmp_path: Path) -> None:
    text = json.dumps(KEY_FILES[name], indent=2)
    path = tmp_path / "sa.json"
    path.write_text(text)
    path.chmod(0o600)
    given: Any = {str: text, dict: KEY_FILES[name], "file": path, "base64": b64encode(text.encode())}[spelt]
    made = compact.parse(Service("https://as.example", "billing", key=given).assertion())
    compact.verify(made, KEYS["RS256"].public())
    assert made.kid == "k-1"
    renamed = compact.parse(Service("https://as.example", "billing", key=given, kid="mine").assertion())
    assert renamed.kid == "mine"


WHOLE = [
    KEY.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    json.dumps(KEY.to_jwk()).encode(),
    json.dumps(KEY_FILES["google"]).encode(),
    jwks(*NOISE, KEY.to_jwk()).encode(),
    bundle(password=None),
]


@settings(max_examples=40)
@given(st.sampled_from(WHOLE), st.integers(0, 2000), st.integers(0, 40), st.binary(max_size=6))
def test_a_spoilt_key_is_an_error_of_ours(whole: bytes, at: int, cut: int, put: bytes) -> None:
    """Any content: no exception of another kind, which could show the key."""
    spoilt = whole[:at] + put + whole[at + cut :]
    for text in (spoilt, spoilt.decode("utf-8", "surrogateescape"), spoilt.decode("latin-1")):
        find_mark(text)
        with suppress(ConfigError, LocalError):
            load_signer(text)
