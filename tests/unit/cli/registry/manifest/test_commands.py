"""`affiant plan` and `affiant apply` on a data folder, from the words to the exit code."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from affiant.cli.connection.data import with_store
from affiant.cli.main import main
from affiant.jose import keys
from affiant.server.registry.credentials import keys as client_keys
from affiant.storage.ports import Store

Run = Callable[..., tuple[int, Any]]

KEY = next(key for _ in range(99) if (key := keys.generate("ES256").public()).thumbprint[0] != "-")  # no option
NEXT = keys.generate("Ed25519").public()
GUIDE = Path(__file__).parents[5] / "docs" / "how-to" / "apply.md"
FILE = """
[[apis]]
identifier = "https://orders.example"
name = "orders"
scopes = ["read", "write"]
signing_alg = "default"

[[clients]]
client_id = "billing"
client_name = "Billing"
public_keys = ["billing.jwk"]
scope = ["read"]
profile = "none"
audience_policy = "legacy"
observe = ["typ"]
"""
SECRET = '\n[[clients]]\nclient_id = "legacy"\ntoken_endpoint_auth_method = "client_secret_basic"\n'


@pytest.fixture
def run(run_json: Run) -> Run:
    """Run a command in a folder with the file."""
    Path("billing.jwk").write_text(json.dumps(KEY.to_jwk()))
    Path("registry.toml").write_text(FILE)
    return run_json


def test_there_and_back(run: Run) -> None:
    """After plan and apply nothing differs; a change by hand is found and corrected."""
    assert run("apply", "registry.toml", "--yes")[0] == 0
    assert run("plan", "registry.toml") == (0, {"in_sync": True, "steps": [], "not_in_file": [], "notes": []})
    assert run("apply", "registry.toml", "--yes")[1]["steps"] == []
    assert run("client", "update", "billing", "--scope", "write", "--enforce", "typ")[0] == 0
    code, drift = run("plan", "registry.toml")
    (step,) = drift["steps"]
    assert (code, step["action"], step["name"]) == (6, "update", "billing")
    assert step["changes"] == [
        {"member": "scope", "before": ["write"], "after": ["read"]},
        {"member": "observe", "before": [], "after": ["typ"]},
    ]
    assert run("apply", "registry.toml", "--yes")[0] == 0
    assert run("plan", "registry.toml")[0] == 0


def test_keys_follow_the_file(run: Run) -> None:
    run("apply", "registry.toml", "--yes")
    Path("billing.jwk").write_text(json.dumps({"keys": [NEXT.to_jwk(), KEY.to_jwk()]}))
    _, found = run("plan", "registry.toml")
    assert found["steps"][0]["changes"] == [
        {"member": "jwks", "before": [KEY.thumbprint], "after": sorted([KEY.thumbprint, NEXT.thumbprint])}
    ]
    assert run("apply", "registry.toml", "--yes")[0] == 0
    Path("billing.jwk").write_text(json.dumps(NEXT.to_jwk()))
    assert run("apply", "registry.toml", "--yes")[0] == 0
    standing = {key["thumbprint"]: key["state"] for key in run("client", "show", "billing")[1]["keys"]}
    assert standing == {KEY.thumbprint: "revoked", NEXT.thumbprint: "active"}
    assert run("plan", "registry.toml")[0] == 0


def test_prune_keeps_clients_of_the_admin_api(run: Run) -> None:
    run("admin", "bootstrap", "watcher", "--role", "viewer")
    run("client", "new", "old")
    assert run("apply", "registry.toml", "--yes")[0] == 0
    code, found = run("plan", "registry.toml")
    assert (code, sorted(other["name"] for other in found["not_in_file"])[1:]) == (0, ["old", "watcher"])
    code, found = run("apply", "registry.toml", "--yes", "--prune")
    assert (code, [step["name"] for step in found["steps"]]) == (0, ["old"])
    assert run("plan", "registry.toml", "--prune")[0] == 0
    assert [row["client_id"] for row in run("client", "list")[1]] == ["billing", "watcher"]
    assert len(run("admin", "list")[1]) == 1


def test_secret_needs_a_folder_before_it_is_made(run: Run, tmp_path: Path) -> None:
    Path("registry.toml").write_text(FILE + SECRET)
    code, error = run("apply", "registry.toml", "--yes")
    assert (code, "--credentials-to DIR" in error["message"]) == (8, True)
    assert run("client", "list") == (0, [])
    Path("kept").mkdir()
    Path("kept/legacy.affiant.json").write_text("mine")
    code, error = run("apply", "registry.toml", "--yes", "--credentials-to", "kept")
    assert (code, "exists already" in error["message"], run("client", "list")[1]) == (8, True, [])
    Path("kept/legacy.affiant.json").unlink()
    code, done = run("apply", "registry.toml", "--yes", "--credentials-to", "kept")
    path = tmp_path / "kept" / "legacy.affiant.json"
    assert (code, done["credentials"]) == (0, ["kept/legacy.affiant.json"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["client_secret"] not in json.dumps(done)


def test_nothing_is_done_when_one_change_would_be_refused(run: Run) -> None:
    """Plan and apply report the same: every refused change and why, before the first one is made."""
    wrong = """
[[clients]]
client_id = "nokey"

[[clients]]
client_id = "hosted"
token_endpoint_auth_method = "client_secret_basic"
jwks_uri = "https://published.example/j"
"""
    Path("registry.toml").write_text(FILE + wrong)
    run("api", "new", "seed", "--identifier", "urn:seed")
    for words in (("plan", "registry.toml"), ("apply", "registry.toml", "--yes")):
        code, error = run(*words)
        assert (code, error["message"]) == (8, "nothing was changed: the server would refuse 2 of 4 changes")
        assert error["notes"] == [
            "create client nokey: private_key_jwt needs a public key",
            "create client hosted: client_secret_basic takes no public key",
        ]
    assert run("client", "list") == (0, [])
    assert [api["identifier"] for api in run("api", "list")[1]] == ["urn:seed"]


def test_without_a_terminal_yes_is_required(run: Run) -> None:
    code, error = run("apply", "registry.toml")
    assert (code, "--yes" in error["message"]) == (2, True)
    assert run("apply")[0] == 2
    assert not Path("affiant-data").exists()


@pytest.mark.parametrize("name", ["\\u202e", "\\u001b[2J"])
def test_name_with_control_characters_is_rejected_and_not_repeated(
    run: Run, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    del run
    keys_at = 'jwks_uri = "https://a.example/j"'
    Path("registry.toml").write_text(f'[[clients]]\nclient_id = "a"\nclient_name = "{name}"\n{keys_at}\n')
    with pytest.raises(SystemExit):
        main(["apply", "registry.toml", "--yes"])
    said = capsys.readouterr()
    assert "clients.1.client_name: must be a string without control characters" in said.err
    assert not {"\x1b", "\u202e"} & set(said.out + said.err)


def test_example_of_the_guide_works(run: Run) -> None:
    example = re.search(r"```toml\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert example is not None
    Path("registry.toml").write_text(example[1])
    Path("keys").mkdir()
    Path("keys/billing.pem").write_bytes(
        generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    assert run("apply", "registry.toml", "--yes", "--credentials-to", ".")[0] == 0
    assert run("plan", "registry.toml", "--prune")[0] == 0
    assert run("client", "show", "legacy")[1]["enabled"] is False
    assert [key["for"] for key in run("signing-key", "list")[1]] == ["PS256"]


def test_a_key_of_the_client_stays_until_the_file_says_otherwise(run: Run) -> None:
    """A client rotated its key: the plan reports the key and keeps it; `own_keys` revokes it."""
    run("apply", "registry.toml", "--yes")

    async def rotate(store: Store, _: object) -> None:
        added = client_keys.build(NEXT, now=1_800_000_000, source="client")
        await store.clients.update("billing", lambda found: replace(found, keys=(*found.keys, added)))

    with_store(Path("affiant-data"), rotate)
    note = f"client billing: the client added the key {NEXT.thumbprint} itself; it stays"
    code, found = run("plan", "registry.toml")
    assert (code, found["steps"], found["notes"]) == (0, [], [note])
    third = keys.generate("ES256").public()
    Path("billing.jwk").write_text(json.dumps(third.to_jwk()))
    assert run("apply", "registry.toml", "--yes")[0] == 0
    states = {key["thumbprint"]: key["state"] for key in run("client", "show", "billing")[1]["keys"]}
    assert states == {KEY.thumbprint: "revoked", NEXT.thumbprint: "active", third.thumbprint: "active"}
    Path("registry.toml").write_text(FILE + 'own_keys = "revoke"\n')
    code, found = run("plan", "registry.toml")
    assert (code, found["notes"]) == (6, [])
    assert run("apply", "registry.toml", "--yes")[0] == 0
    states = {key["thumbprint"]: key["state"] for key in run("client", "show", "billing")[1]["keys"]}
    assert (states[NEXT.thumbprint], run("plan", "registry.toml")[0]) == ("revoked", 0)


def test_revoked_key_cannot_be_registered_again(run: Run) -> None:
    run("apply", "registry.toml", "--yes")
    assert run("client", "key", "revoke", "billing", KEY.kid)[0] == 0
    for words in (("plan", "registry.toml"), ("apply", "registry.toml", "--yes")):
        code, error = run(*words)
        assert (code, "all of its keys have ended and cannot be used again" in error["message"]) == (8, True)
    Path("registry.toml").write_text(FILE + 'own_keys = "revoke"\n')
    code, error = run("plan", "registry.toml")
    assert (code, "never comes back" in error["notes"][0]) == (8, True)


def test_export_of_the_registry_is_a_file(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export")[0] == 3, "asking makes no data"
    run("apply", "registry.toml", "--yes")
    run("client", "new", "legacy", "--auth", "client_secret_basic")
    with pytest.raises(SystemExit):
        main(["export"])
    Path("again.toml").write_text(capsys.readouterr().out)
    code, found = run("plan", "again.toml", "--prune")
    assert (code, found["steps"], found["not_in_file"]) == (0, [], [])
    assert json.loads(Path("legacy.affiant.json").read_text())["client_secret"] not in Path("again.toml").read_text()
