"""Private keys in the spellings in which people paste them: taken as they are meant, or named with what mends them."""

import json
import subprocess
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from tests.rsa_keys import rsa_key

from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.signers.forms.documents import parse_private_key
from affiant.signers.forms.spelling import is_key, unwrap

KEYS = {alg: keys.generate(alg) for alg in ("ES256", "ES384", "Ed25519")} | {"RS256": rsa_key()}
KEY = KEYS["ES256"]


def pem(key: keys.PrivateKey = KEY, form: PrivateFormat = PrivateFormat.PKCS8, passphrase: bytes | None = None) -> str:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.key.private_bytes(Encoding.PEM, form, encryption).decode()


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "white space": lambda text: f"\n  \ufeff{text} \r\n",
    "line ends of Windows": lambda text: text.replace("\n", "\r\n"),
    "no last line end": lambda text: text.rstrip("\n"),
    "line ends escaped": lambda text: text.replace("\n", "\\n"),
    "line ends of Windows escaped": lambda text: text.replace("\n", "\\r\\n"),
    "line ends lost": lambda text: text.replace("\n", " "),
    "in quotation marks": lambda text: f'"{text}"',
    "in single ones": lambda text: f"'{text}'",
    "as a string of JSON": json.dumps,
    "indented, as in YAML": lambda text: text.replace("\n", "\n    "),
    "after what openssl pkcs12 -nodes writes": lambda text: f"Bag Attributes\n  friendlyName: x\n{text}",
    "before its certificate": lambda text: f"{text}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "after its parameters": lambda text: f"-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----\n{text}",
    "base64": encoded,
    "base64 in lines": lambda text: "\n".join(encoded(text)[at : at + 76] for at in range(0, len(text) * 2, 76)),
    "base64 in quotation marks": lambda text: f'"{encoded(text)}"',
}


@pytest.mark.parametrize("alg", KEYS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_pem_is_taken_as_it_is_meant(spelling: str, alg: str) -> None:
    text = SPELLINGS[spelling](pem(KEYS[alg]))
    assert is_key(unwrap(text))
    assert parse_private_key(text, alg=alg).public() == KEYS[alg].public()


@pytest.mark.parametrize("spelling", ["as it is", "white space", "as a string of JSON", "in single ones", "base64"])
def test_a_jwk_is_taken_as_it_is_meant(spelling: str) -> None:
    text = SPELLINGS[spelling](json.dumps(KEY.to_jwk()))
    assert is_key(unwrap(text))
    assert parse_private_key(text).to_jwk() == KEY.to_jwk()


@pytest.mark.parametrize("form", [PrivateFormat.TraditionalOpenSSL, PrivateFormat.OpenSSH])
@pytest.mark.parametrize("spelling", ["as it is", "line ends escaped", "line ends lost", "base64"])
def test_other_forms_of_pem_are_taken(spelling: str, form: PrivateFormat) -> None:
    text = SPELLINGS[spelling](pem(KEY, form))
    assert parse_private_key(text).public() == KEY.public()


def test_the_form_of_openssh_is_taken_for_each_type() -> None:
    for alg, key in KEYS.items():
        assert parse_private_key(pem(key, PrivateFormat.OpenSSH), alg=alg).public() == key.public()


def test_a_pem_without_its_first_and_last_line_is_taken() -> None:
    body = "".join(pem().splitlines()[1:-1])
    assert parse_private_key(body).public() == KEY.public()


def _public() -> str:
    return KEY.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def document(**members: Any) -> str:
    """Long enough to be looked for in base64."""
    return json.dumps({**members, "note": "n" * 64})


REFUSED: list[tuple[str, str]] = [
    (pem(passphrase=b"secret"), "encrypted: give its password as  key_password=, in AFFIANT_KEY_PASSWORD"),
    (pem(form=PrivateFormat.TraditionalOpenSSL, passphrase=b"secret"), "encrypted.*AFFIANT_KEY_PASSWORD_FILE"),
    (pem() + pem(KEYS["ES384"]), "2 private keys"),
    (_public(), "no private key but PEM of: PUBLIC KEY"),
    (f"{_public()}-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----", "PEM of: PUBLIC KEY, CERTIFICATE"),
    (pem()[:100], "cut off"),
    (pem().replace("MI", "!!"), "not a private key in PEM"),
    (document(type="service_account"), 'lacks "private_key"'),
    (document(type="authorized_user", refresh_token="x"), "login of a user"),
    (document(web={"client_secret": "x"}), "Google OAuth client for users"),
    (document(ciphertext="x"), "JWE"),
    (document(keys={}), "not a JWK Set"),
    (json.dumps({"keys": [KEY.public().to_jwk()]}), r"no key of the JWK Set can sign.*no private part"),
    (json.dumps({"keys": [{}] * 65}), "65 members: at most 64"),
    ("ssh-ed25519 AAAA" + "A" * 64, r"public key of OpenSSH.*without \.pub"),
    ("PuTTY-User-Key-File-3: ssh-ed25519\n" + "A" * 68, r"PuTTY.*puttygen FILE -O private-openssh"),
    ("AGE-SECRET-KEY-1" + "A" * 58, "age"),
    ("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0." + "A" * 86, "a JWT"),
    (
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nA\n-----END PGP PRIVATE KEY BLOCK-----" + " " * 20,
        "PEM of: PGP PRIVATE KEY BLOCK",
    ),
    (
        json.dumps({"affiant": 1, "key_file": "k.pem", "issuer": "https://as.example", "client_id": "billing"}),
        r"credentials file.*Service\.from_credentials",
    ),
    (json.dumps({"kty": "oct", "k": "A" * 43}), "shared secret.*secret="),
    (json.dumps({"key": KEY.to_jwk()}), "no kty"),
    (json.dumps(KEY.public().to_jwk()), "no private part"),
    ("{" + pem(), "not JSON"),
    ("{" * 5000, "not JSON"),
]


@pytest.mark.parametrize(("text", "said"), REFUSED)
@pytest.mark.parametrize("wrap", [str, encoded])
def test_message_about_another_format_has_the_remedy(text: str, said: str, wrap: Any) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        parse_private_key(wrap(text))
    message = f"{refused.value!r}{refused.value.__cause__!r}{refused.value.__context__!r}"
    for line in (*pem().splitlines()[1:-1], KEY.to_jwk()["d"]):
        assert line not in message


@pytest.mark.parametrize("alg", KEYS)
def test_an_openssh_key_with_a_passphrase_is_named(alg: str, tmp_path: Any) -> None:
    path = tmp_path / "key"
    path.write_text(pem(KEYS[alg], PrivateFormat.OpenSSH))
    path.chmod(0o600)
    try:
        subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", path], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("ssh-keygen is not installed")
    with pytest.raises(ConfigError, match=r"passphrase.*ssh-keygen -p -N '' -f key"):
        parse_private_key(path.read_text(), alg=alg)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "secret", "-N", "", "-f", path], check=True, capture_output=True)
    assert parse_private_key(path.read_text(), alg=alg).public() == KEYS[alg].public()


@pytest.mark.parametrize(
    "path",
    [
        "key.pem",
        "/run/secrets/key",
        "C:/keys/a.pem",
        "A" * 40,
        "a/" * 60,
        "ssh-key.pem",
        "ey.ey.pem",
        "/run/secrets/" + "a" * 80,
        "",
    ],
)
def test_a_path_is_none(path: str) -> None:
    assert unwrap(path) == path
    assert not is_key(path)


def test_a_path_in_quotation_marks_is_the_path() -> None:
    assert unwrap('"/run/secrets/key"\n') == "/run/secrets/key"


def test_a_credentials_file_is_the_key_in_it() -> None:
    """So one file can name the key of another: that of its blueprint."""
    text = json.dumps({"affiant": 1, "client_id": "c", "key": KEY.to_jwk()})
    assert parse_private_key(text).public().thumbprint == KEY.public().thumbprint
