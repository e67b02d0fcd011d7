"""Where credentials are found, in which order, and what is said of each place."""

import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from affiant import Service
from affiant.client.credentials import environment, search
from affiant.errors import LocalError
from affiant.jose import keys

CANARY = "canary-5f1d0c6e7a934b21-canary-5f1d0c6e7a934b21"
ISSUER = "https://as.example"
KEY = keys.generate("ES256")


def write(path: Path, client_id: str, mode: int = 0o600, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    method = {"auth_method": "client_secret_basic", "client_secret": CANARY}
    path.write_text(json.dumps({"affiant": 1, "issuer": ISSUER, "client_id": client_id, **method, **more}))
    path.chmod(mode)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without credentials."""
    for name in list(os.environ):
        if name.startswith("AFFIANT_"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(search, "RUN_SECRETS", tmp_path / "run")
    return tmp_path


@pytest.fixture
def machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with credentials at each place."""
    monkeypatch.setenv("AFFIANT_CREDENTIALS", str(write(folder / "named.affiant.json", "variable")))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder / "systemd"))
    write(folder / "systemd" / "affiant", "systemd")
    write(folder / "run" / "affiant.json", "run")
    write(folder / "config" / "affiant" / "mine.affiant.json", "config")
    return folder


def variables(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"AFFIANT_{name}", value)


def states() -> list[str]:
    return [place.state for place in search.look().places]


def test_the_order(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert search.find(write(machine / "given.json", "given")).client_id == "given"
    assert search.find().client_id == "variable"
    monkeypatch.delenv("AFFIANT_CREDENTIALS")
    variables(monkeypatch, CLIENT_ID="variables", CLIENT_SECRET=CANARY, ISSUER=ISSUER)
    assert search.find().client_id == "variables"
    for name in ("CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.delenv(f"AFFIANT_{name}")
    assert search.find().client_id == "systemd"
    assert states() == ["not set", "not set", "found", "not looked at", "not looked at"]
    (machine / "systemd" / "affiant").rename(machine / "systemd" / "affiant.json")
    assert search.find().client_id == "systemd"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert search.find().client_id == "run"
    (machine / "run" / "affiant.json").unlink()
    assert search.find().client_id == "config"
    assert states() == ["not set", "not set", "not set", "absent", "found"]
    assert Service.from_credentials().client_id == Service.from_env().client_id == "config"


def test_nothing_found_says_where_and_what_to_do(folder: Path) -> None:
    assert states() == ["not set", "not set", "not set", "absent", "absent"]
    with pytest.raises(LocalError) as caught:
        Service.from_credentials()
    for said in ("-c FILE", "affiant enroll", "affiant client new"):
        assert said in str(caught.value)
    notes = "\n".join(caught.value.__notes__)
    for said in ("$CREDENTIALS_DIRECTORY  not set", f"{folder}/run/affiant or affiant.json  absent"):
        assert said in notes


def test_empty_name_is_no_folder() -> None:
    with pytest.raises(LocalError, match="is empty: is a variable not set"):
        Service.from_credentials("")


def test_several_files_of_a_user_are_listed(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(machine / "config" / "affiant" / "other.affiant.json", "other")
    write(machine / "config" / "affiant" / ".draft.affiant.json", "draft")
    for name in ("AFFIANT_CREDENTIALS", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name)
    (machine / "run" / "affiant.json").unlink()
    with pytest.raises(LocalError, match=r"has 2 credentials files \(mine\.affiant\.json, other\.affiant\.json\)"):
        search.find()


@pytest.mark.parametrize("spoil", ["mode", "text", "empty"])
def test_broken_credentials_end_the_search(machine: Path, monkeypatch: pytest.MonkeyPatch, spoil: str) -> None:
    """Attack: whoever spoils the first file makes the program go on as another client."""
    monkeypatch.delenv("AFFIANT_CREDENTIALS")
    path = machine / "systemd" / "affiant"
    if spoil == "mode":
        path.chmod(0o644)
    else:
        path.write_text(CANARY if spoil == "text" else "")
    with pytest.raises(LocalError, match=f"{path}") as caught:
        search.find()
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert states() == ["not set", "not set", "cannot be used", "not looked at", "not looked at"]


def test_a_folder_is_no_file(folder: Path) -> None:
    """Kubernetes mounts a Secret as a folder."""
    write(folder / "run" / "affiant" / "x", "deeper")
    assert states()[3] == "absent"
    write(folder / "run" / "affiant.json", "run")
    assert search.find().client_id == "run"


def test_a_relative_folder_is_ignored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the XDG Base Directory Specification says."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", "config")
    monkeypatch.setenv("HOME", str(folder / "home"))
    write(folder / "config" / "affiant" / "mine.affiant.json", "config")
    assert states()[4] == "absent"
    write(folder / "home" / ".config" / "affiant" / "mine.affiant.json", "home")
    assert search.find().client_id == "home"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user: run as root")
@pytest.mark.usefixtures("folder")
def test_a_folder_of_another_user_is_passed_over() -> None:
    """A file of another user ends the search: it was meant, and cannot be read."""
    program = (
        "import os, sys; from pathlib import Path; from affiant.client.credentials import search\n"
        "os.setgroups([]); os.setresgid(*[65534] * 3); os.setresuid(*[65534] * 3)\n"
        "search.RUN_SECRETS = Path(sys.argv[1])\n"
        "for place in search.look().places: print(place.state)"
    )

    def seen(run: Path) -> list[str]:
        done = subprocess.run([sys.executable, "-c", program, str(run)], capture_output=True, text=True, check=True)
        return done.stdout.split("\n")[3:5]

    with tempfile.TemporaryDirectory(prefix="affiant-search-") as name:  # the folder of pytest is closed
        run = Path(name)
        run.chmod(0o755)
        write(run / "affiant", "run")
        assert seen(run) == ["cannot be used", "not looked at"]
        run.chmod(0o700)
        assert seen(run) == ["no access", "absent"]


def test_variables_make_a_client(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables(monkeypatch, ISSUER=ISSUER, CLIENT_ID="billing", KEY=json.dumps(KEY.to_jwk()), KID="mine", SCOPE="a b")
    found = search.find()
    assert (found.auth_method, found.kid, found.scope, found.key) == ("private_key_jwt", "mine", "a b", None)
    assert KEY.to_jwk()["d"] not in repr(found)
    assert KEY.to_jwk()["d"] not in found.key_mark
    assert Service.from_env().assertion().count(".") == 2
    path = folder / "key.json"
    path.write_text(json.dumps({"type": "application", "keyId": "k", "key": "x", "clientId": "42@p"}))
    path.chmod(0o600)
    monkeypatch.delenv("AFFIANT_CLIENT_ID")
    variables(monkeypatch, KEY=f"file:{path}")
    assert search.find().client_id == "42@p"
    monkeypatch.delenv("AFFIANT_KEY")
    (folder / "secret").write_text(f"{CANARY}\n")
    (folder / "secret").chmod(0o600)
    variables(monkeypatch, CLIENT_ID="billing", CLIENT_SECRET_FILE=str(folder / "secret"))
    assert search.find().client_secret == CANARY


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"CLIENT_ID": "b"}, "needs one of AFFIANT_KEY, AFFIANT_CLIENT_SECRET and .*none is set"),
        ({"KEY": "file:x", "CLIENT_SECRET": CANARY}, "AFFIANT_KEY and AFFIANT_CLIENT_SECRET are set"),
        ({"KEY": json.dumps(KEY.to_jwk())}, "AFFIANT_KEY is set, and AFFIANT_CLIENT_ID is not"),
        ({"CLIENT_SECRET": CANARY}, "AFFIANT_CLIENT_SECRET is set, and AFFIANT_CLIENT_ID is not"),
        ({"CLIENT_SECRET": CANARY, "ISSUER": ""}, "AFFIANT_ISSUER is not"),
        ({"CREDENTIALS": "x.json", "KEY": "file:x"}, "AFFIANT_CREDENTIALS and AFFIANT_KEY are both set"),
        (
            {"CLIENT_ID": "b", "CLIENT_SECRET_FILE": "/nowhere"},
            "AFFIANT_CLIENT_SECRET_FILE: the client secret cannot be read: there is no such file",
        ),
        ({"CLIENT_ID": "b", "KEY": f"/nowhere/{CANARY}"}, "AFFIANT_KEY: .*no file that can be read"),
        ({"CLIENT_ID": "b", "KEY": "env:NONE"}, "AFFIANT_KEY: names the variable NONE, which is not set"),
    ],
)
def test_incomplete_and_contradicting_variables_are_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, str], said: str
) -> None:
    variables(monkeypatch, **{"ISSUER": ISSUER, **values})
    with pytest.raises(LocalError, match=said) as caught:
        Service.from_env()
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_the_issuer_of_the_environment_is_that_of_the_file(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables(monkeypatch, ISSUER="https://other.example")
    with pytest.raises(LocalError, match=r"AFFIANT_ISSUER names https://other\.example, and the credentials are for"):
        Service.from_env()
    assert Service.from_credentials().issuer == ISSUER  # the variable may be meant for a server on this machine


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"type": "service_account", "private_key": CANARY}, "a key alone.*AFFIANT_KEY=file:PATH"),
        (KEY.to_jwk(), "a key alone"),
        ({"keys": []}, "a key alone"),
    ],
)
def test_a_key_alone_is_named(folder: Path, members: dict[str, Any], said: str) -> None:
    path = folder / "x.json"
    path.write_text(json.dumps(members))
    path.chmod(0o600)
    with pytest.raises(LocalError, match=said) as caught:
        search.find(path)
    assert CANARY not in str(caught.value)
    path.write_text("-----BEGIN PRIVATE KEY-----\n" + CANARY)
    with pytest.raises(LocalError, match="a key or certificate, and not a credentials file"):
        search.find(path)


PEM = KEY.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
BY_MISTAKE = {
    "pem": PEM,
    "pem, line ends escaped": PEM.replace("\n", "\\n"),
    "base64": "".join(PEM.splitlines()[1:-1]),
    "d": KEY.to_jwk()["d"],
    "hexadecimal": "deadbeef" * 8,
    "long": "x y" * 2000,
}


@pytest.mark.attack(277)
@pytest.mark.parametrize("what", BY_MISTAKE)
def test_a_key_in_the_place_of_a_name_is_not_shown(folder: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Attack: a key that was passed as a path is logged."""
    text = BY_MISTAKE[what]
    named = folder / "x.affiant.json"
    members = {"issuer": ISSUER, "client_id": "c", "auth_method": "private_key_jwt"}

    def by_key_file() -> None:
        named.write_text(json.dumps({"affiant": 1, **members, "key_file": text}))
        named.chmod(0o600)
        Service.from_credentials(named)

    def by_variable() -> None:
        monkeypatch.setenv("AFFIANT_CREDENTIALS", text)
        Service.from_credentials()

    def by_own_variable() -> None:
        variables(monkeypatch, ISSUER=ISSUER, CLIENT_ID="c", KEY=f"file:{text}")
        monkeypatch.delenv("AFFIANT_CREDENTIALS", raising=False)
        Service.from_env()

    wrongs = [lambda: Service.from_credentials(text), by_key_file, by_variable]
    if "-----" not in text:  # a PEM is found in any text
        wrongs.append(by_own_variable)
    for wrong in wrongs:
        with pytest.raises(LocalError) as caught:
            wrong()
        shown = "".join(traceback.format_exception(caught.value))
        for part in (text, text[:30], text[30:60]):
            assert part not in shown


def test_the_search_loads_no_cryptography(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept token is printed without it."""
    write(machine / "systemd" / "affiant", "s", auth_method="private_key_jwt", client_secret=None, key_file="a.pem")
    members = json.loads((machine / "systemd" / "affiant").read_text())
    del members["client_secret"]
    (machine / "systemd" / "affiant").write_text(json.dumps(members))
    monkeypatch.delenv("AFFIANT_CREDENTIALS")
    program = (
        "import sys; from affiant.client.credentials import search; print(search.find().client_id);"
        "search.find().key_mark; print([n for n in sys.modules if n.startswith('cryptography')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "s\n[]\n"


def test_every_variable_has_a_meaning() -> None:
    assert {*environment.given(), environment.KEY} <= environment.MEANINGS.keys()
