"""A client whose key is in a PKCS #11 token (SoftHSM): the page how-to/pkcs11.md as it is there, and the command line."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from tests import softhsm
from tests.process import Launch, Server

from affiant.jose import keys

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "pkcs11.md"


@pytest.fixture
def registered(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> softhsm.SoftHsm:
    """A client that is registered with the public key, as the command of the page imports it."""
    made = softhsm.make(tmp_path / "hsm")
    if made is None:
        pytest.skip(softhsm.MISSING)
    monkeypatch.setenv(softhsm.CONFIGURATION, str(made.configuration))
    key = keys.generate("ES256").key
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(private)
    (line,) = re.findall(r"^(softhsm2-util --import .*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    tool, *words = line.replace("--token affiant", f"--token {softhsm.LABEL}").replace("1234", softhsm.PIN).split()
    subprocess.run([shutil.which(tool) or tool, *words], cwd=tmp_path, check=True, capture_output=True)
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (server.folder / "token.pem").write_bytes(public)
    server.affiant("client", "new", tmp_path.name, "--public-key", "token.pem", "--scope", "orders.read")
    return made


def test_page_runs_as_it_is_there(registered: softhsm.SoftHsm, server: Server, tmp_path: Path, launch: Launch) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (tmp_path / "pin").write_text(softhsm.PIN)
    (tmp_path / "pin").chmod(0o600)
    here = {
        "token=affiant": f"token={softhsm.LABEL}",
        "/usr/lib/softhsm/libsofthsm2.so": str(registered.module),
        "/run/secrets/pkcs11-pin": str(tmp_path / "pin"),
        '"billing"': repr(tmp_path.name),
    }
    for documented, value in here.items():
        assert documented in code
        code = code.replace(documented, value)
    head = f"from affiant import Service\nissuer = {server.issuer!r}\n"
    (tmp_path / "page.py").write_text(f"{head}{code}\nprint(len(service.token().value) > 99)\n")
    child = launch(sys.executable, str(tmp_path / "page.py"))
    assert child.process.wait(60) == 0, child.err
    assert child.out.strip() == "True"


def test_command_line_takes_the_uri_from_a_credentials_file(
    registered: softhsm.SoftHsm, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.affiant.json"
    members = {"affiant": 1, "issuer": server.issuer, "client_id": tmp_path.name, "auth_method": "private_key_jwt"}
    path.write_text(json.dumps({**members, "signer": f"pkcs11:token={softhsm.LABEL};id=%01"}))
    path.chmod(0o600)
    monkeypatch.setenv("AFFIANT_PKCS11_MODULE", str(registered.module))
    monkeypatch.setenv("AFFIANT_PKCS11_PIN", softhsm.PIN)
    got = server.run("token", "-c", str(path), "--no-cache")
    assert got.returncode == 0, got.stderr
    assert got.stdout.count(".") == 2
    monkeypatch.setenv("AFFIANT_PKCS11_PIN", "not-the-pin")
    refused = server.run("token", "-c", str(path), "--no-cache")
    assert refused.returncode != 0
    assert "refuses the PIN (PinIncorrect): correct the file of pin-source=, or AFFIANT_PKCS11_PIN" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "not-the-pin" not in refused.stderr
