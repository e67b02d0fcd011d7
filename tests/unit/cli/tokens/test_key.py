"""`affiant key put` sends nothing private; and keys of a server as users see them."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.rsa_keys import rsa_key
from tests.unit.client.conftest import Answer, Foreign, metadata_answer

from affiant.cli.tokens import key as commands
from affiant.errors import LocalError
from affiant.jose.keys import PrivateKey

WELL_KNOWN = "/.well-known/oauth-authorization-server"
RSA = rsa_key()


@pytest.fixture
def server(foreign: Foreign) -> Foreign:
    """It lets clients change their keys."""
    url = f"{foreign.url}/client-keys"
    foreign.default[WELL_KNOWN] = metadata_answer(foreign.url, client_keys_endpoint=url)
    foreign.default["/client-keys"] = Answer(200, {"keys": [{"kid": "one"}]})
    return foreign


@pytest.fixture
def credentials(server: Foreign, key: PrivateKey, tmp_path: Path) -> Path:
    """The file of a client of this server."""
    path = tmp_path / "billing.affiant.json"
    who = {"affiant": 1, "issuer": server.url, "client_id": "billing", "auth_method": "private_key_jwt"}
    path.write_text(json.dumps({**who, "key": key.to_jwk()}))
    path.chmod(0o600)
    return path


def _run(*words: str, credentials: Path) -> Result:
    return CliRunner().invoke(commands.key, [*words, "-c", str(credentials)])


def _private(key: PrivateKey) -> dict[str, dict[str, Any]]:
    """Files of which somebody may think that they hold public keys."""
    jwk, public = key.to_jwk(), key.public().to_jwk()
    dp = {name: jwk[name] for name in jwk if name not in {"d", "p"}}
    return {
        "a private JWK": jwk,
        "a public JWK": public,
        "a set with a private key": {"keys": [public, jwk]},
        "a set with the rest of a private key": {"keys": [dp if "dp" in dp else jwk]},
        "a credentials file": {"affiant": 1, "key": jwk},
        "a list": {"keys": {"key": jwk}},
        "an empty set": {"keys": [], "key": jwk},
    }


@pytest.mark.parametrize("kind", list(_private(RSA)))
def test_a_file_that_is_not_of_public_keys_is_not_sent(
    server: Foreign, credentials: Path, tmp_path: Path, kind: str
) -> None:
    """Neither to the server nor to the terminal."""
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(_private(RSA)[kind]))
    done = _run("put", str(path), credentials=credentials)
    assert isinstance(done.exception, LocalError)
    assert server.requests == []
    assert RSA.to_jwk()["d"] not in f"{done.output}{done.exception}"


@pytest.mark.parametrize("text", ["", "x", "[" * 100_000, '{"keys":[],"keys":[]}', '{"keys":NaN}'])
def test_a_file_that_is_no_json_is_not_sent(server: Foreign, credentials: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    assert isinstance(_run("put", str(path), credentials=credentials).exception, LocalError)
    assert server.requests == []


def test_only_the_public_keys_of_a_file_are_sent(server: Foreign, credentials: Path, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    public = RSA.public().to_jwk()
    path.write_text(json.dumps({"keys": [{**public, "note": "mine"}], "key": RSA.to_jwk()}))
    assert _run("put", str(path), credentials=credentials).exit_code == 0
    (sent,) = server.sent("/client-keys")
    assert (sent.method, json.loads(sent.form["jwks"])) == ("PUT", {"keys": [public]})


@pytest.mark.parametrize("odd", [None, 7, [], {}, "\x1b[2J", 1e300, True])
def test_odd_members_of_a_key_are_printed(server: Foreign, credentials: Path, odd: Any) -> None:
    members = ("alg", "state", "source", "use_count", "last_used_at", "safe_to_complete", "why")
    server.default["/client-keys"] = Answer(200, {"keys": [{"kid": "o\x1b[2Jdd", **dict.fromkeys(members, odd)}]})
    done = _run("list", credentials=credentials)
    assert (done.exception, done.exit_code) == (None, 0)
    assert done.output.rstrip("\n").isprintable()
