"""`affiant key show`, `convert` and `thumbprint`: every form into every other, and nothing private where it must not be."""

import json
import re
import shlex
import stat
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import make

from affiant.cli.main import main
from affiant.jose import keys
from affiant.jose.keys import PrivateKey

ALGS = ("ES256", "RS256", "Ed25519", "ML-DSA-44")
QUICK = ("ES256", "Ed25519", "ML-DSA-44")  # an RSA key is checked for a second whenever it is read
PRIVATE, PUBLIC = ("pem", "jwk", "jwks", "pkcs12"), ("public-pem", "public-jwk", "public-jwks")
PASSWORD = "of a canary, cafe"
# RFC 7638 section 3.1, and as a URI RFC 9278 section 5.
EXAMPLE = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj"
    "hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5"
    "hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}
THUMBPRINT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AFFIANT_KEY_PASSWORD", raising=False)
    monkeypatch.setenv("WORD", PASSWORD)


@pytest.fixture
def affiant(capfdbinary: pytest.CaptureFixture[bytes]) -> Command:
    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["key", *words])
        out, err = capfdbinary.readouterr()
        return int(end.value.code or 0), out.decode("latin-1"), err.decode()

    return run


@cache
def made_for(alg: str) -> PrivateKey:
    return keys.generate(alg)


def private(alg: str = "ES256", name: str = "a.key", kid: str | None = None) -> dict[str, Any]:
    members = made_for(alg).to_jwk() | ({"kid": kid} if kid else {})
    Path(name).write_text(json.dumps(members))
    Path(name).chmod(0o600)
    return members


@pytest.mark.parametrize("alg", ALGS)
@pytest.mark.parametrize("form", PRIVATE)
def test_key_survives_every_form(affiant: Command, alg: str, form: str) -> None:
    members = private(alg)
    word = ["--new-password", "env:WORD"] if form == "pkcs12" else []
    code, _, err = affiant("convert", "a.key", "--to", form, "--out", "b", *word)
    if alg == "ML-DSA-44" and form == "pkcs12":
        assert (code, "choose pem" in err) == (8, True)
        return
    assert code == 0, err
    assert stat.S_IMODE(Path("b").stat().st_mode) == 0o600
    code, back, err = affiant(
        "convert", "b", "--to", "jwk", "--out", "-", "--password", "env:WORD", "--alg", alg, "--kid", members["kid"]
    )
    assert code == 0, err
    assert json.loads(back) == members


@pytest.mark.parametrize("form", ["pem", "pkcs12"])
def test_encrypted_file_is_opened_by_its_password_alone(
    affiant: Command, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    private()
    Path("word").write_text(PASSWORD + "\n")
    Path("word").chmod(0o600)
    assert affiant("convert", "a.key", "--to", form, "--out", "b", "--new-password", "file:word")[0] == 0
    assert b"BEGIN PRIVATE" not in Path("b").read_bytes()
    code, out, err = affiant("show", "b")
    assert (code, out, "is encrypted" in err) == (8, "", True)
    monkeypatch.setenv("OTHER", "another")
    code, out, err = affiant("show", "b", "--password", "env:OTHER")
    assert (code, out, "does not open" in err) == (8, "", True)
    monkeypatch.setenv("AFFIANT_KEY_PASSWORD", PASSWORD)
    assert affiant("show", "b")[0] == 0
    opened = ["openssl", "pkcs12", "-nodes", "-passin", "env:WORD", "-in", "b"]
    if form == "pem":
        opened = ["openssl", "pkey", "-passin", "env:WORD", "-in", "b"]
    assert b"BEGIN PRIVATE KEY" in subprocess.run(opened, capture_output=True, check=True).stdout


@pytest.mark.parametrize("form", PUBLIC)
@pytest.mark.parametrize("alg", QUICK)
def test_public_forms_have_nothing_private(affiant: Command, form: str, alg: str) -> None:
    members = private(alg)
    code, out, err = affiant("convert", "a.key", "--to", form)
    assert code == 0, err
    secret = {"d", "p", "q", "priv"} & members.keys()
    assert secret
    assert not [one for one in secret if members[one] in out]
    Path("b").write_text(out)
    (shown,) = json.loads(affiant("show", "b", "--json")[1])["data"]
    assert (shown["is_private"], shown["thumbprint"]) == (False, members["kid"])
    assert affiant("convert", "b", "--to", "jwk", "--out", "c")[0] == 8


@pytest.mark.parametrize("form", PRIVATE)
def test_private_key_is_not_printed_unasked(affiant: Command, form: str) -> None:
    members = private()
    code, out, err = affiant("convert", "a.key", "--to", form)
    assert (code, out) == (2, "")
    assert "write it with --out FILE" in err
    assert members["d"] not in err


def test_no_file_is_replaced(affiant: Command) -> None:
    private()
    Path("b").write_text("precious")
    assert affiant("convert", "a.key", "--to", "pem", "--out", "b")[0] == 8
    assert Path("b").read_text() == "precious"


@pytest.mark.parametrize("alg", QUICK)
def test_show_has_no_private_part(affiant: Command, alg: str) -> None:
    members = private(alg)
    for words in (["show", "a.key"], ["show", "a.key", "--json"], ["thumbprint", "a.key"]):
        code, out, err = affiant(*words)
        assert code == 0
        assert members["kid"] in out
        assert not [one for one in ("d", "p", "q", "priv") if one in members and members[one] in out + err]
    assert f"alg         {alg}\n" in affiant("show", "a.key")[1]


def test_set_is_shown_whole_and_one_key_taken_from_it(affiant: Command) -> None:
    first, second = private(kid="first"), private("Ed25519", "b.key", "second")
    other = {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}
    Path("set").write_text(json.dumps({"keys": [first, other, keys.generate("ES256").public().to_jwk(), second]}))
    Path("set").chmod(0o600)
    code, out, err = affiant("show", "set", "--json")
    assert [(one["kid"], one["is_private"]) for one in json.loads(out)["data"]][::2] == [
        ("first", True),
        ("second", True),
    ]
    assert "warning: set: left out: key 2" in err
    assert json.loads(affiant("convert", "set", "--kid", "second", "--to", "jwk", "--out", "-")[1]) == second
    code, _, err = affiant("convert", "set", "--to", "jwk", "--out", "-")
    assert (code, "choose one by --kid of first" in err) == (8, True)
    assert len(json.loads(affiant("convert", "set", "--to", "public-jwks")[1])["keys"]) == 3


@pytest.mark.rfc(7638, "3.1")
@pytest.mark.rfc(9278, "3")
def test_thumbprint_is_that_of_the_example(affiant: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("k").write_text(json.dumps(EXAMPLE))
    assert affiant("thumbprint", "k")[1] == f"{THUMBPRINT}\n"
    with Path("k").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert affiant("thumbprint", "-", "--uri")[1] == f"urn:ietf:params:oauth:jwk-thumbprint:sha-256:{THUMBPRINT}\n"


def test_certificate_and_credentials_file_have_a_key(affiant: Command) -> None:
    made = make()
    Path("c.pem").write_bytes(made.pem)
    assert affiant("thumbprint", "c.pem")[1] == f"{made.public.thumbprint}\n"
    Path("f.json").write_text(json.dumps({"affiant": 1, "key": private()}))
    Path("f.json").chmod(0o600)
    assert "EC P-256, private" in affiant("show", "f.json")[1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("", "not a private key"),
        ('{"kty": "oct", "k": "c2VjcmV0"}', "shared secret"),
        ('{"keys": []}', "no key that can be used"),
        ('{"keys": 1}', "not a JWK Set"),
        ('{"keys": [' + "1," * 2000 + "1]}", "not a JWK Set"),
        ("a" * 1_100_000, "too long"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "not a private key"),
    ],
)
def test_what_is_no_key(affiant: Command, text: str, why: str) -> None:
    Path("a").write_text(text)
    Path("a").chmod(0o600)
    code, out, err = affiant("show", "a")
    assert (code, out) == (8, "")
    assert why in err


@pytest.mark.parametrize("form", ["pem", "jwk", "jwks"])
def test_private_file_must_be_private(affiant: Command, form: str) -> None:
    private()
    assert affiant("convert", "a.key", "--to", form, "--out", "b")[0] == 0
    Path("b").chmod(0o644)
    code, out, err = affiant("show", "b")
    assert (code, out) == (8, "")
    assert "chmod 600" in err


def test_key_of_a_variable_is_read_as_by_the_client(affiant: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_for("ES256")
    monkeypatch.setenv("BILLING_KEY", json.dumps(made.to_jwk()))
    private()
    for source in ("env:BILLING_KEY", "file:a.key"):
        code, out, _ = affiant("thumbprint", source)
        assert (code, out.strip()) == (0, made.public().thumbprint)
    for source, says in (("env:NO_SUCH_KEY", "NO_SUCH_KEY, which is not set"), ("keyring:billing", "SERVICE/USER")):
        code, _, err = affiant("show", source)
        assert (code, says in err) == (8, True), err


def test_folder_that_is_missing_is_named(affiant: Command) -> None:
    private()
    code, _, err = affiant("convert", "a.key", "--to", "public-pem", "--out", "run/billing.pem")
    assert (code, "the folder run does not exist" in err) == (3, True), err
    code, _, err = affiant("convert", "a.key", "--to", "pem", "--out", "run/billing.key")
    assert (code, "the folder run does not exist" in err) == (3, True), err


def test_encrypted_key_without_a_terminal(affiant: Command) -> None:
    private()
    assert affiant("convert", "a.key", "--to", "pem", "--out", "b.key", "--new-password", "env:WORD")[0] == 0
    code, _, err = affiant("show", "b.key")
    assert (code, "--password file:PATH" in err) == (8, True), err


def test_password_is_no_argument(affiant: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    private()
    monkeypatch.setenv("EMPTY", "")
    code, out, err = affiant("convert", "a.key", "--to", "pem", "--out", "b", "--new-password", PASSWORD)
    assert (code, out, PASSWORD in err) == (2, "", False)
    for source in ("env:NOT_SET_ANYWHERE", "file:nothing", "env:EMPTY"):
        assert affiant("convert", "a.key", "--to", "pem", "--out", "b", "--new-password", source)[0] == 8
        assert not Path("b").exists()


def test_commands_of_the_page_run(affiant: Command) -> None:
    page = (Path(__file__).parents[4] / "docs/how-to/client-keys.md").read_text("utf-8")
    (block,) = re.findall(r"^## Key files\n.*?^```console\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    for line in block.splitlines():
        words = shlex.split(line.replace("prompt", "env:WORD"))
        code, _, err = affiant(*words[2:])
        assert (words[:2], code) == (["affiant", "key"], 0), err
