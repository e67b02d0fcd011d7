"""A file that says what is registered: planned, applied, interrupted and put right, at the data folder and elsewhere."""

import json
import os
import pty
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.process import AFFIANT, Launch, Server

from affiant.jose import compact, keys

API = "https://orders.example"
MANY = 60


@pytest.fixture(params=["here", "elsewhere"])
def road(request: pytest.FixtureRequest, lone_server: Server) -> tuple[str, ...]:
    """How the commands reach the server that runs: its data folder, or its admin API."""
    lone_server.affiant("admin", "bootstrap", "deployer")
    if request.param == "here":
        return ("--data", str(lone_server.folder / "affiant-data"))
    return ("--url", lone_server.issuer, "-c", str(lone_server.folder / "deployer.affiant.json"))


def _clients(*names: str) -> str:
    jwk = json.dumps(keys.generate("ES256").public().to_jwk()).replace('": "', '" = "')
    return "".join(
        f'[[clients]]\nclient_id = "{name}"\nscope = ["orders.read"]\njwks.keys = [{jwk}]\n' for name in names
    )


def _write(server: Server, text: str) -> None:
    (server.folder / "registry.toml").write_text(
        f'[[apis]]\nidentifier = "{API}"\nname = "orders"\nscopes = ["orders.read"]\n{text}'
    )


def _run(server: Server, *words: str) -> tuple[int, Any]:
    done = server.run(*words, "--json")
    document = json.loads(done.stdout)
    return done.returncode, document.get("data", document.get("error"))


def test_a_client_of_the_file_gets_tokens_and_drift_is_put_right(lone_server: Server, road: tuple[str, ...]) -> None:
    server = lone_server
    legacy = '[[clients]]\nclient_id = "legacy"\ntoken_endpoint_auth_method = "client_secret_basic"\nscope = ["orders.read"]\n'
    _write(server, _clients("billing") + legacy)
    assert _run(server, "plan", "registry.toml", *road)[0] == 6
    (server.folder / "kept").mkdir()
    code, done = _run(server, "apply", "registry.toml", "--yes", "--credentials-to", "kept", *road)
    assert (code, done["credentials"]) == (0, ["kept/legacy.affiant.json"]), done
    assert server.affiant("token", "-c", "kept/legacy.affiant.json")["access_token"]
    assert _run(server, "plan", "registry.toml", *road)[0] == 0
    server.affiant("client", "disable", "billing")
    assert _run(server, "plan", "registry.toml", *road)[0] == 0, "what the file leaves out is not its business"
    server.affiant("client", "update", "billing", "--scope", "orders.write")
    code, drift = _run(server, "plan", "registry.toml", *road)
    change = {"member": "scope", "before": ["orders.write"], "after": ["orders.read"]}
    assert (code, drift["steps"]) == (
        6,
        [{"action": "update", "kind": "client", "name": "billing", "changes": [change]}],
    )
    assert _run(server, "apply", "registry.toml", "--yes", *road)[0] == 0
    assert server.affiant("client", "show", "billing")["scope"] == ["orders.read"]
    _write(server, _clients())
    assert _run(server, "apply", "registry.toml", "--yes", "--prune", *road)[0] == 0
    assert [client["client_id"] for client in server.affiant("client", "list")] == ["deployer"]
    server.affiant("audit", "verify")


def test_ctrl_c_ends_it_between_two_steps(lone_server: Server, road: tuple[str, ...], launch: Launch) -> None:
    """What was said to be done is done, nothing else is, and once more does the rest."""
    server = lone_server
    names = [f"c{number}" for number in range(MANY)]
    _write(server, _clients(*names))
    file = str(server.folder / "registry.toml")
    child = launch(*AFFIANT, "apply", file, "--yes", *road, PYTHONUNBUFFERED="1")
    child.until(lambda: "done  create client c3\n" in child.out)
    child.process.send_signal(signal.SIGINT)
    assert child.process.wait(20) == 130, child.err
    told = [line.removeprefix("done  create client ") for line in child.out.splitlines() if line.startswith("done")]
    found = {client["client_id"] for client in server.affiant("client", "list")} - {"deployer"}
    assert set(told) == found
    assert 4 <= len(found) < MANY
    assert f"create client {told[-1]}\nnot done: create client c{len(told)}" in child.err
    code, left = _run(server, "plan", file, *road)
    assert (code, len(left["steps"])) == (6, MANY - len(found))
    assert _run(server, "apply", file, "--yes", *road)[0] == 0
    assert _run(server, "plan", file, *road)[0] == 0


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 130), (b"\n", 130)])
def test_it_asks_on_a_terminal(tmp_path: Path, answer: bytes, code: int) -> None:
    server = Server(tmp_path)  # which does not run
    server.add_api()
    _write(server, _clients("asked"))
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        ended = subprocess.run(
            [*AFFIANT, "apply", "registry.toml"],
            cwd=server.folder,
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "+ client asked" in ended.stdout
    assert "Do this?" in ended.stdout + ended.stderr
    assert (server.run("client", "show", "asked").returncode == 0) == (code == 0)


def test_a_viewer_plans_and_does_not_apply(lone_server: Server) -> None:
    lone_server.affiant("admin", "bootstrap", "watcher", "--role", "viewer")
    elsewhere = ("--url", lone_server.issuer, "-c", "watcher.affiant.json")
    _write(lone_server, _clients("new"))
    assert _run(lone_server, "plan", "registry.toml", *elsewhere)[0] == 6
    code, error = _run(lone_server, "apply", "registry.toml", "--yes", *elsewhere)
    assert (code, error["code"]) == (4, "token.insufficient_scope")
    assert error["notes"] == ["done: nothing", "not done: create client new"]


def test_signing_keys_and_revocations_elsewhere(lone_server: Server) -> None:
    """The same commands over the admin API; what they do is in the log with who did it, under the request's own id."""
    server = lone_server
    server.affiant("admin", "bootstrap", "owner")
    elsewhere = ("--url", server.issuer, "-c", "owner.affiant.json")
    assert server.affiant("signing-key", "list", *elsewhere) == server.affiant("signing-key", "list")
    made = server.affiant("signing-key", "rotate", *elsewhere)
    assert (made["state"], made["for"]) == ("announced", None)
    server.affiant("api", "new", "ledger", "--identifier", "https://ledger.example", "--signing-alg", "PS256")
    assert server.affiant("signing-key", "rotate", "--for", "PS256", *elsewhere)["alg"] == "PS256"
    assert server.affiant("signing-key", "remove", *elsewhere, "--", made["kid"])["state"] == "removed"
    records = [row["record"] for row in server.affiant("audit", "show", "-n", "20")]
    removed = next(row for row in records if row["outcome"] == "removed")
    assert (removed["by"], removed["kid"]) == ("owner", made["kid"])
    assert json.loads(removed["before"])["removed_at"] is None
    assert json.loads(removed["after"])["removed_at"] is not None
    announced = next(row for row in records if row["outcome"] == "announced" and row["kid"] == made["kid"])
    assert announced["trace_id"] != removed["trace_id"]
    made_with = {row["trace_id"] for row in records if row.get("alg") == "PS256" and row["by"].startswith("cli")}
    assert made_with == {row["trace_id"] for row in records if row.get("subject") == "api https://ledger.example"}
    names = {row["name"]: row["source"] for row in server.affiant("settings", *elsewhere)}
    assert names["port"] == "option"
    # Last: what its client is given within two seconds of this is ended too.
    ended = server.affiant("revoke", "--client", "owner", *elsewhere)
    assert server.affiant("issued", "revocations")[0] == ended


def test_what_was_issued_is_found_and_ended_elsewhere(lone_server: Server) -> None:
    server = lone_server
    server.affiant("admin", "bootstrap", "owner")
    elsewhere = ("--url", server.issuer, "-c", "owner.affiant.json")
    grants = ("--grant", "client_credentials", "--grant", "refresh_token")
    server.affiant("client", "new", "worker", "--scope", "orders.read", *grants)
    assert server.affiant("grants", "--client", "worker", *elsewhere)[0]["scope"] == ["orders.read"]
    claims = compact.parse(server.affiant("token", "-c", "worker.affiant.json")["access_token"]).claims
    found = server.affiant("issued", "find", claims["jti"], *elsewhere)
    assert (found["client_id"], found["revoked"]) == ("worker", False)
    (line,) = server.affiant("issued", "refresh-tokens", "--client", "worker", *elsewhere)
    assert server.affiant("revoke", "--family", line["family"], *elsewhere)["kind"] == "family"
    assert server.affiant("issued", "refresh-tokens", *elsewhere) == []
    assert server.affiant("issued", "find", claims["jti"], *elsewhere)["revoked"] is True
