"""`affiant key new`, and credentials files that name a key file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from affiant.cli.main import main
from affiant.client.credentials import file as credentials
from affiant.client.credentials.own_key import locate
from affiant.client.identity import Service
from affiant.errors import LocalError
from affiant.jose import compact, keys
from affiant.jose.algorithms import ASYMMETRIC
from affiant.signers.local import load_signer

Run = Callable[..., tuple[int, Any]]

ISSUER = "https://as.example"


@pytest.fixture
def run(run_json: Run) -> Run:
    return run_json


def test_six_services_need_no_openssl(run: Run) -> None:
    """The key pairs, the file of apply and the credentials files work together."""
    Path("keys").mkdir()
    names = ["shop", "cart", "mailer", "stock", "tax", "bank"]
    code, made = run("key", "new", *names, "--to", "keys", "--issuer", "http://127.0.0.1:8377")
    assert (code, [one["client_id"] for one in made]) == (0, names)
    entries = "".join(f'[[clients]]\nclient_id = "{name}"\npublic_keys = ["keys/{name}.pem"]\n' for name in names)
    Path("registry.toml").write_text(entries)
    assert run("apply", "registry.toml", "--yes")[0] == 0
    registered = {client["client_id"]: client["keys"][0]["kid"] for client in run("client", "list")[1]}
    assert registered == {one["client_id"]: one["kid"] for one in made}
    for name in names:
        found = credentials.read(Path("keys") / f"{name}.affiant.json")
        header = compact.parse(Service.from_credentials(found).assertion()).header
        assert (header["kid"], header["alg"]) == (registered[name], "ES256")
        assert "key" not in json.loads((Path("keys") / f"{name}.affiant.json").read_text())
        modes = [(Path("keys") / f"{name}{suffix}").stat().st_mode & 0o777 for suffix in (".key", ".pem")]
        assert modes == [0o600, 0o644]


@pytest.mark.parametrize("alg", ASYMMETRIC)
def test_a_pair_of_any_algorithm_is_read_again(run: Run, alg: str) -> None:
    assert run("key", "new", "a", "--alg", alg, "--issuer", ISSUER)[0] == 0
    found = credentials.read(Path("a.affiant.json"))
    public = keys.parse_public_pem(Path("a.pem").read_bytes(), alg=alg)
    data = compact.parse(Service.from_credentials(found).assertion())
    assert compact.verify(data, public).header["alg"] == alg


@pytest.mark.parametrize("lost", ["a.pem", "a.affiant.json"])
def test_missing_files_of_a_stopped_run_are_made(run: Run, lost: str) -> None:
    run("key", "new", "a", "--issuer", ISSUER)
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    Path(lost).unlink()
    assert run("key", "new", "a", "--issuer", ISSUER)[0] == 0
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before
    code, error = run("key", "new", "a", "--issuer", ISSUER)
    assert (code, "exist already" in error["message"]) == (8, True)


def test_run_stopped_between_two_services_continues(run: Run) -> None:
    run("key", "new", "a", "--issuer", ISSUER)
    before = Path("a.key").read_bytes()
    assert run("key", "new", "a", "b", "--issuer", ISSUER)[0] == 0
    assert (Path("a.key").read_bytes(), Path("b.affiant.json").exists()) == (before, True)


def test_a_missing_folder_is_made_for_its_owner_alone(run: Run) -> None:
    assert run("key", "new", "a", "--to", "keys")[0] == 0
    assert (Path("keys").stat().st_mode & 0o777, Path("keys/a.key").exists()) == (0o700, True)
    Path("file").touch()
    assert run("key", "new", "a", "--to", "file/keys")[0] == 8


def test_a_public_key_without_its_private_key_is_not_replaced(run: Run) -> None:
    run("key", "new", "a")
    Path("a.key").unlink()
    code, error = run("key", "new", "a")
    assert (code, "a.pem exists, and its private key a.key does not" in error["message"]) == (8, True)


@pytest.mark.parametrize("name", ["../a", "..", "", "a b"])
def test_name_must_not_be_a_path(run: Run, name: str) -> None:
    code, error = run("key", "new", name)
    assert (code, "--to DIR" in error["message"]) == (2, True)
    assert list(Path().iterdir()) == []


def _file(**members: Any) -> Path:
    path = Path("a.affiant.json")
    whole = {"affiant": 1, "issuer": ISSUER, "client_id": "a", "auth_method": "private_key_jwt", **members}
    path.write_text(json.dumps(whole))
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (
            {"key": "keys/a.key"},
            r'"key" in a\.affiant\.json must be a private JWK, an object: for a file, write  "key_file"',
        ),
        ({"key_file": "none.key"}, r'the "key_file" none\.key cannot be read: No such file'),
        ({"key_file": "a.pem"}, r'the "key_file" a\.pem: '),
        ({"key_file": "open.key"}, r"others may read open\.key"),
        ({"key_file": "a.key", "client_secret": "x"}, 'one of "key", "key_file", "signer" and "client_secret"'),
        ({"key_file": ["a.key"]}, '"key_file" in a.affiant.json is of the wrong kind'),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.usefixtures("run")
def test_a_key_file_that_cannot_be_used_is_named(members: dict[str, Any], said: str) -> None:
    main_words = ["key", "new", "a"]
    with pytest.raises(SystemExit):
        main(main_words)
    Path("a.pem").chmod(0o600)
    Path("open.key").write_bytes(Path("a.key").read_bytes())
    Path("open.key").chmod(0o644)
    with pytest.raises(LocalError, match=said):
        load_signer(locate(credentials.read(_file(**members))))


@pytest.mark.usefixtures("run")
def test_the_key_is_not_repeated_where_its_name_belongs() -> None:
    with pytest.raises(LocalError) as failure:
        credentials.read(_file(key="-----BEGIN PRIVATE KEY-----canary"))
    assert "canary" not in str(failure.value)


@pytest.mark.usefixtures("run")
def test_a_jwk_is_a_key_file_too() -> None:
    key = keys.generate("Ed25519")
    Path("a.jwk").write_text(json.dumps(key.to_jwk()))
    Path("a.jwk").chmod(0o600)
    signer = load_signer(locate(credentials.read(_file(key_file="a.jwk"))))
    assert isinstance(signer, keys.PrivateKey)
    assert signer.to_jwk() == key.to_jwk()


def test_a_client_id_with_slashes_stays_in_the_folder(run: Run) -> None:
    code, (made,) = run("key", "new", "https://a.example/x", "--issuer", ISSUER)
    assert (code, made["private_key"]) == (0, "https%3A%2F%2Fa.example%2Fx.key")
    assert credentials.read(Path(made["credentials"])).client_id == "https://a.example/x"
