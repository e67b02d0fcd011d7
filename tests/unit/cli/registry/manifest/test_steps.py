"""Steps during concurrent changes, and without a place for a secret."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.admin import ADMIN, ISSUER, make_gate

from affiant.cli.connection.admin import Admin
from affiant.cli.connection.local import call
from affiant.cli.registry.handover import draft
from affiant.cli.registry.manifest import commands, plan
from affiant.cli.registry.manifest.plan import Step
from affiant.cli.registry.manifest.registry_file import Desired
from affiant.errors import ConfigError, Refused, RemoteError
from affiant.storage.memory import MemoryStore
from affiant.storage.records import NotFound

WANTED = Desired.model_validate({"clients": [{"client_id": "billing", "scope": ["read"]}]})
KEYS = "https://billing.example/jwks.json"
SECRET = {"client_id": "billing", "token_endpoint_auth_method": "client_secret_basic"}


class Raced(Admin):
    """An admin API where another caller changes a document between a read and the write."""

    change: dict[str, list[str]]

    async def read(self, path: str) -> tuple[Any, str]:
        found = await super().read(path)
        await self.patch(path, self.change)
        return found


async def _api(kind: type[Admin] = Admin) -> Admin:
    api = kind(partial(call, make_gate(MemoryStore())), ISSUER)
    await api.post("/clients", {**SECRET, "scope": ["write"]})
    return api


async def _steps(api: Admin, wanted: Desired = WANTED, *, prune: bool = False) -> list[Step]:
    return plan.build(wanted, await commands.read_all(api), prune=prune)


@pytest.mark.parametrize(
    ("wanted", "change"),
    [
        (WANTED, {"resources": ["https://theirs.example"]}),
        (Desired(), {"scope": ["admin.owner"], "resources": [ADMIN]}),
    ],
    ids=["update", "removal"],
)
async def test_concurrent_change_is_not_overwritten(wanted: Desired, change: dict[str, list[str]]) -> None:
    """Not even one between the last read and the change: the ETag detects it (RFC 9110 section 13.1.1)."""
    api, done = await _api(Raced), list[Step]()
    assert isinstance(api, Raced)
    api.change = change
    with pytest.raises(Refused, match="client billing has changed") as refused:
        await commands.take_all(api, await _steps(api, wanted, prune=True), None, done=done.append)
    assert (refused.value.error, refused.value.status, done) == ("admin.changed", 412, [])
    standing = await api.get("/clients/billing")
    assert {"scope": standing["scope"], "resources": standing["resources"]} == {"scope": ["write"], **change}


async def test_client_that_changed_since_the_plan_is_left() -> None:
    api = await _api()
    planned = await _steps(api)
    await api.patch("/clients/billing", {"scope": ["other"]})
    with pytest.raises(Refused, match="client billing has changed since the plan was made"):
        await commands.take_all(api, planned, None, done=lambda _: None)
    assert (await api.get("/clients/billing"))["scope"] == ["other"]


async def test_client_that_got_a_role_since_the_plan_is_not_pruned() -> None:
    api = await _api()
    planned = await _steps(api, Desired(), prune=True)
    assert [str(step) for step in planned] == ["remove client billing"]
    await api.patch("/clients/billing", {"scope": ["admin.owner"], "resources": [ADMIN]})
    with pytest.raises(Refused, match=r"admin\.changed"):
        await commands.take_all(api, planned, None, done=lambda _: None)
    assert (await api.get("/clients/billing"))["scope"] == ["admin.owner"]


async def test_client_without_a_file_for_its_secret_is_not_made(tmp_path: Path) -> None:
    """No client is made if its draft cannot be written."""
    api = await _api()
    await api.delete("/clients/billing")
    planned = await _steps(api, Desired.model_validate({"clients": [SECRET]}))
    assert planned[0].makes_secret
    with pytest.raises(ConfigError, match="cannot be written"):
        await commands.take_all(api, planned, tmp_path / "gone", done=lambda _: None)
    with pytest.raises(NotFound):
        await api.get("/clients/billing")
    await commands.take_all(api, planned, tmp_path, done=lambda _: None)
    assert commands.credentials_path(tmp_path, "billing").stat().st_mode & 0o777 == 0o600


class Stuck(Admin):
    """An admin API where the client's file appears during its registration, and removals fail."""

    path: Path

    async def post(self, path: str, members: Mapping[str, Any] | None = None) -> Any:
        self.path.touch()
        return await super().post(path, members)

    async def delete(self, path: str, *, etag: str | None = None) -> Any:
        raise RemoteError("the server is away")


async def test_client_that_cannot_be_removed_again_is_reported(tmp_path: Path) -> None:
    """The first failure is raised, with a note about the remedy."""
    api = Stuck(partial(call, make_gate(MemoryStore())), ISSUER)
    planned = await _steps(api, Desired.model_validate({"clients": [SECRET]}))
    api.path = commands.credentials_path(tmp_path, "billing")
    with pytest.raises(ConfigError, match="exists already") as failure:
        await commands.take_all(api, planned, tmp_path, done=lambda _: None)
    (note,) = failure.value.__notes__
    assert note.startswith("billing is still registered, and its file is missing (the server is away): run the")
    assert draft.find(api.path) is not None, "so that the same command finishes it"


async def test_secret_without_a_folder_is_not_made() -> None:
    api = Stuck(partial(call, make_gate(MemoryStore())), ISSUER)
    planned = await _steps(api, Desired.model_validate({"clients": [SECRET]}))
    with pytest.raises(ConfigError, match="--credentials-to DIR"):
        await commands.take_all(api, planned, None, done=lambda _: None)
    assert await api.all("/clients") == []


@pytest.mark.parametrize("name", [".", ".."])
async def test_invalid_client_id_is_rejected_as_such(name: str) -> None:
    api = Admin(partial(call, make_gate(MemoryStore())), ISSUER)
    with pytest.raises(ConfigError, match=r"client_id: must be .* without a segment \. or \.\."):
        await api.post("/clients", {"client_id": name, "jwks_uri": KEYS})
