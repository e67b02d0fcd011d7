"""Administration over the network: the same commands, with --url and a credentials file, and what each role may."""

import json
from typing import Any

from tests.process import Server

from affiant.server.admin.documents import Client, UsedClient


def elsewhere(server: Server, who: str, *words: str) -> tuple[int, Any]:
    done = server.run(*words, "--url", server.issuer, "-c", f"{who}.affiant.json", "--json")
    return done.returncode, json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout


def is_told_elsewhere(server: Server, *words: str) -> bool:
    """Whether both say the same, except how clients were used: asking elsewhere is a use."""
    code, told = elsewhere(server, "admin-viewer", *words)
    assert code == 0, told
    return bool(lasting(told["data"]) == lasting(server.affiant(*words)))


def lasting(found: Any) -> Any:
    if isinstance(found, list):
        return [lasting(one) for one in found]
    counted = UsedClient.model_fields.keys() - Client.model_fields.keys()
    return {name: value for name, value in found.items() if name not in counted}


def test_commands_work_elsewhere(lone_server: Server) -> None:
    """What the data folder says, the server says too; and what a role may not, it is refused with exit code 4."""
    server = lone_server  # on a server of many tests, its owner may not be the last
    for role in ("owner", "viewer"):
        made = server.affiant("admin", "bootstrap", f"admin-{role}", "--role", role)
        assert (made["role"], made["api"]) == (role, f"{server.issuer}/admin/api")
    server.affiant("client", "new", "admin-worker", "--scope", "orders.read")
    for words in (("client", "list"), ("client", "show", "admin-worker"), ("api", "list"), ("admin", "list")):
        assert is_told_elsewhere(server, *words), words
    code, told = elsewhere(server, "admin-viewer", "client", "disable", "admin-worker")
    assert (code, told["error"]["code"]) == (4, "token.insufficient_scope")
    assert elsewhere(server, "admin-owner", "client", "disable", "admin-worker")[0] == 0
    assert server.affiant("client", "show", "admin-worker")["enabled"] is False
    assert elsewhere(server, "admin-owner", "client", "remove", "admin-worker")[0] == 0
    assert elsewhere(server, "admin-owner", "client", "show", "admin-worker")[0] == 3
    code, told = elsewhere(server, "admin-owner", "client", "remove", "admin-owner")
    assert (code, told["error"]["code"]) == (4, "admin.last_owner")
    code, told = elsewhere(server, "admin-viewer", "audit", "verify")
    assert (code, told["ok"]) == (0, True)
    (last,) = server.affiant("audit", "show", "-n", "1")
    trace_id = last["record"]["trace_id"]
    assert elsewhere(server, "admin-viewer", "audit", "show", trace_id)[0] == 0
    code, told = elsewhere(server, "admin-viewer", "explain", trace_id)
    here = server.affiant("explain", trace_id)
    assert (told["data"].pop("judged_by"), here.pop("judged_by")) == (
        server.issuer,
        str(server.folder / "affiant-data"),
    )
    assert (code, told["data"]) == (0, here)
    code, told = elsewhere(server, "admin-viewer", "explain", "grant_type=password")
    assert (code, told["data"]["reason"]) == (0, "grant.unsupported")


def test_roles_are_granted_at_the_data_folder(server: Server) -> None:
    server.affiant("admin", "bootstrap", "admin-helper", "--role", "viewer")
    server.affiant("admin", "grant", "admin-helper", "operator")
    assert {"client_id": "admin-helper", "scope": ["admin.operator"]}.items() <= next(
        row for row in server.affiant("admin", "list") if row["client_id"] == "admin-helper"
    ).items()
    server.affiant("admin", "grant", "admin-helper", "none")
    code, told = elsewhere(server, "admin-helper", "client", "list")
    assert code == 4, told
    done = server.run("client", "list", "--url", server.issuer, "-c", "admin-helper.affiant.json")
    assert "affiant admin grant admin-helper viewer" in done.stderr


def test_credentials_go_to_their_own_server_alone(server: Server) -> None:
    server.affiant("admin", "bootstrap", "admin-careful")
    done = server.run("client", "list", "--url", "http://127.0.0.1:1", "-c", "admin-careful.affiant.json")
    assert (done.returncode, "these credentials are for" in done.stderr) == (8, True)
