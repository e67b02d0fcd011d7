"""`affiant who`: whose credentials are used, and why."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from tests.unit.cli.conftest import Run

from affiant.client.credentials import search
from affiant.client.credentials.file import Credentials
from affiant.jose import keys

KEY = keys.generate("ES256")
WHO = Credentials("https://as.example", "billing", "private_key_jwt", key=KEY.to_jwk(), kid="mine")


@pytest.fixture
def run(run_json: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in ("AFFIANT_CREDENTIALS", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(search, "RUN_SECRETS", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return run_json


def test_who_names_the_client_its_key_and_every_place(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "config" / "affiant" / "billing.affiant.json"
    path.parent.mkdir(parents=True)
    WHO.write(path)
    code, found = run("who")
    assert code == 0
    assert (found["issuer"], found["client_id"], found["auth_method"]) == (WHO.issuer, "billing", "private_key_jwt")
    assert found["key"] == {"kid": "mine", "alg": "ES256", "thumbprint": KEY.public().thumbprint}
    assert found["file"] == str(path)
    assert [place["state"] for place in found["places"]] == ["not set", "not set", "not set", "absent", "found"]
    assert KEY.to_jwk()["d"] not in json.dumps(found)
    _, given = run("who", "-c", str(path))
    assert [place["place"] for place in given["places"]] == ["the argument"]


def test_who_is_nobody(run: Run) -> None:
    code, error = run("who")
    assert (code, len(error["notes"])) == (8, 5)
    assert "affiant client new" in error["message"]


def test_a_key_that_cannot_be_used_is_no_who(run: Run, tmp_path: Path) -> None:
    protection = serialization.BestAvailableEncryption(b"canary")
    pem = KEY.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    Path("key.pem").write_bytes(pem)
    Path("key.pem").chmod(0o600)
    Credentials(WHO.issuer, "billing", "private_key_jwt", key_file="key.pem").write(Path("a.affiant.json"))
    code, error = run("who", "-c", "a.affiant.json")
    assert (code, "AFFIANT_KEY_PASSWORD" in error["message"]) == (8, True)
    assert 'a.affiant.json: the "key_file" key.pem' in error["message"]


def test_a_key_elsewhere_is_not_asked(run: Run) -> None:
    uri = "pkcs11:token=t;object=o?pin-value=canary"
    Credentials(WHO.issuer, "billing", "private_key_jwt", signer=uri, kid="k").write(Path("a.affiant.json"))
    code, found = run("who", "-c", "a.affiant.json")
    assert (code, found["key"]) == (0, {"kid": "k", "alg": None, "held_by": "pkcs11"})


def test_a_secret_is_not_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ISSUER": WHO.issuer, "CLIENT_ID": "billing", "CLIENT_SECRET": "canary"}.items():
        monkeypatch.setenv(f"AFFIANT_{name}", value)
    code, found = run("who")
    assert (code, found["key"], found["file"], found["auth_method"]) == (0, None, None, "client_secret_basic")
    assert "canary" not in json.dumps(found)


@pytest.mark.parametrize("command", ["rotate", "cancel"])
def test_a_key_in_the_environment_is_not_rotated(run: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """There is no file to write the next one to."""
    code, error = run("key", command)
    assert (code, error["message"].startswith("no credentials")) == (8, True)
    for name, value in {"ISSUER": WHO.issuer, "CLIENT_ID": "b", "KEY": json.dumps(KEY.to_jwk())}.items():
        monkeypatch.setenv(f"AFFIANT_{name}", value)
    code, error = run("key", command)
    assert (code, error["message"]) == (
        8,
        "name the credentials file with --credentials FILE, or in AFFIANT_CREDENTIALS",
    )


def test_text_for_people(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    from click.testing import CliRunner

    from affiant.cli.tokens.who import who

    WHO.write(Path("a.affiant.json"))
    done = CliRunner().invoke(who, ["-c", "a.affiant.json"])
    assert done.output.splitlines() == [
        "billing at https://as.example",
        "  by    private_key_jwt",
        f"  key   kid mine alg ES256 thumbprint {KEY.public().thumbprint}",
        "  from  a.affiant.json",
        "looked in:",
        "  the argument  found: a.affiant.json",
    ]
