"""`affiant admin bootstrap`: an owner and its credentials file, or neither."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from affiant.cli.operations.admin import admin
from affiant.client.credentials import file as credentials
from affiant.errors import ConfigError


def _run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(admin, [*words, "--data", str(data), "--json"])


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("role", ["owner", "viewer"])
def test_owner_whose_file_cannot_be_written_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    """Its key is lost: it would be a useless administrator, and block the next attempt."""
    data = tmp_path / "data"
    failed = _run(data, "bootstrap", "alice", "--role", role)
    assert isinstance(failed.exception, ConfigError)
    assert "cannot be written" in str(failed.exception)
    assert not hasattr(failed.exception, "__notes__")
    monkeypatch.chdir(tmp_path)
    assert json.loads(_run(data, "list").stdout)["data"] == []
    made = json.loads(_run(data, "bootstrap", "alice", "--role", role).stdout)["data"]
    assert (made["client_id"], made["role"], made["credentials"]) == ("alice", role, "alice.affiant.json")
    found = credentials.read(tmp_path / "alice.affiant.json")
    assert (found.client_id, found.scope, found.resource) == ("alice", f"admin.{role}", made["api"])
    assert (found.alg, found.auth_method) == ("ES256", "private_key_jwt")
    assert found.key is not None
    assert found.kid is not None
