"""docs/how-to/ai-agents.md and task-tokens.md, as an operator and the process of the agents follow it."""

import contextlib
import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.process import Server

from affiant import Service
from affiant.errors import Refused
from affiant.jose import compact
from affiant.oauth import names

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"


def code_of(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (HOW_TO / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)


def gone(api: str, token: str) -> bool:
    """Whether the API refuses the token soon: 2 s are promised, and the machine may be busy."""
    began = time.monotonic()
    while status(api, token) == 200:
        if time.monotonic() - began > 10:
            return False
    return time.monotonic() - began < 5


def status(api: str, token: str) -> int:
    return httpx2.get(f"{api}/orders", headers={"Authorization": f"Bearer {token}"}).status_code


def test_agents_of_a_blueprint(server: Server, api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--scope", "orders.read", "--resource", api)
    server.affiant("client", "new", "planner", "--owner", "research", *words)
    server.affiant(
        "client", "new", "planner-7", "--blueprint", "planner", "--kind", "agent", "--owner", "alice", *words
    )
    members = json.loads((server.folder / "planner-7.affiant.json").read_text())
    assert members["key_file"] == "planner.affiant.json"
    assert "key" not in members
    claims = compact.parse(server.affiant("token", "-c", "planner-7.affiant.json")["access_token"]).claims
    assert (claims["sub"], claims["sub_profile"]) == ("planner-7", "ai_agent")

    shutil.copy2(server.folder / "planner.affiant.json", tmp_path)
    monkeypatch.chdir(tmp_path)
    (code,) = code_of("ai-agents.md")
    scope = {"__name__": "page"}
    found: dict[str, Any] = scope
    exec(code.replace("https://as.example", server.issuer).replace('scope="', f'resource="{api}", scope="'), found)
    assert status(api, found["token"].value) == 200

    assert [one["reason"] for one in server.affiant("client", "check", "planner-7")] == []
    server.affiant("client", "disable", "planner")
    assert gone(api, found["token"].value)
    other = Service(server.issuer, "planner-7", key=tmp_path / "planner.affiant.json")
    with pytest.raises(Refused, match="client authentication failed"):
        other.token()
    server.affiant("client", "enable", "planner")
    assert server.affiant("client", "disable", "--owner", "alice") == [{"client_id": "planner-7", "done": "disable"}]
    assert server.affiant("client", "disable", "--owner", "alice") == []


def test_tokens_for_one_task(server: Server, api: str) -> None:
    grants = ("--grant", names.CLIENT_CREDENTIALS, "--grant", names.TOKEN_EXCHANGE)
    scopes = ("--scope", "orders.read", "--scope", "orders.write")
    server.affiant("client", "new", "worker", *scopes, "--resource", api, *grants)

    def token(task: str) -> str:
        words = ("--task", task, "--for", "120", "--scope", "orders.read", "--resource", api)
        return str(server.affiant("token", "-c", "worker.affiant.json", *words)["access_token"])

    first, second = token("invoice-1"), token("invoice-2")
    claims = compact.parse(first).claims
    assert (claims["task"], claims["scope"], claims["sub"]) == ("invoice-1", "orders.read", "worker")
    assert claims["exp"] - claims["iat"] == 120
    assert "act" not in claims
    assert [status(api, each) for each in (first, second)] == [200, 200]
    assert server.affiant("revoke", "--task", "invoice-1")["value"] == "worker invoice-1"
    assert gone(api, first)
    assert status(api, second) == 200
    (code,) = code_of("task-tokens.md")
    found: dict[str, Any] = {}
    with contextlib.chdir(server.folder):
        exec(code.replace("https://orders.example", api), found)
    assert status(api, found["made"].access_token) == 200
    missing = server.run("revoke", "--task", "invoice-3")
    assert missing.returncode != 0
    assert "--client" in missing.stderr
    assert server.run("token", "-c", "worker.affiant.json", "--for", "9").returncode == 2
