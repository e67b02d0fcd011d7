"""Steps, while somebody else changes things too, and where a secret cannot be kept."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.desk import ADMIN, ISSUER, make_gate

from affiant.cli.connection.admin import Admin
from affiant.cli.connection.local import call
from affiant.cli.registry.handover import draft
from affiant.cli.registry.manifest import plan, steps
from affiant.cli.registry.manifest.plan import Step
from affiant.cli.registry.manifest.registry_file import Desired
from affiant.errors import ConfigError, Refused, RemoteError
from affiant.storage.memory import MemoryStore
from affiant.storage.records import NotFound

pytestmark = pytest.mark.anyio
WANTED = Desired.model_validate({"clients": [{"client_id": "billing", "scope": ["read"]}]})
KEYS = "https://billing.example/jwks.json"
SECRET = {"client_id": "billing", "token_endpoint_auth_method": "client_secret_basic"}


class Raced(Admin):
    """Somebody else changes what was read before it is written."""

    async def read(self, path: str) -> tuple[Any, str]:
        found = await super().read(path)
        await self.patch(path, {"resources": ["https://theirs.example"]})
        return found


async def _api(kind: type[Admin] = Admin) -> Admin:
    api = kind(partial(call, make_gate(MemoryStore())), ISSUER)
    await api.post("/clients", {**SECRET, "scope": ["write"]})
    return api


async def _steps(api: Admin, wanted: Desired = WANTED, *, prune: bool = False) -> list[Step]:
    return plan.build(wanted, await api.all("/apis"), await api.all("/clients"), prune=prune)


async def test_nobodys_change_in_between_is_overwritten() -> None:
    """Not even one that comes between the last look and the change: the ETag says so (RFC 9110 section 13.1.1)."""
    api, done = await _api(Raced), list[Step]()
    with pytest.raises(Refused, match="client billing has changed") as refused:
        await steps.take_all(api, await _steps(api), None, done=done.append)
    assert (refused.value.error, refused.value.status, done) == ("admin.changed", 412, [])
    standing = await api.get("/clients/billing")
    assert (standing["scope"], standing["resources"]) == (["write"], ["https://theirs.example"])


async def test_what_is_not_as_it_was_planned_is_left() -> None:
    api = await _api()
    planned = await _steps(api)
    await api.patch("/clients/billing", {"scope": ["other"]})
    with pytest.raises(Refused, match="client billing has changed since the plan was made"):
        await steps.take_all(api, planned, None, done=lambda _: None)
    assert (await api.get("/clients/billing"))["scope"] == ["other"]


async def test_who_got_a_part_in_the_admin_api_since_is_not_pruned() -> None:
    api = await _api()
    planned = await _steps(api, Desired(), prune=True)
    assert [str(step) for step in planned] == ["remove client billing"]
    await api.patch("/clients/billing", {"scope": ["admin.owner"], "resources": [ADMIN]})
    with pytest.raises(Refused, match=r"admin\.changed"):
        await steps.take_all(api, planned, None, done=lambda _: None)
    assert (await api.get("/clients/billing"))["scope"] == ["admin.owner"]


async def test_a_secret_that_cannot_be_kept_is_nobodys(tmp_path: Path) -> None:
    """No client is made when its file cannot be begun."""
    api = await _api()
    await api.delete("/clients/billing")
    planned = await _steps(api, Desired.model_validate({"clients": [SECRET]}))
    assert planned[0].makes_secret
    with pytest.raises(ConfigError, match="cannot be written"):
        await steps.take_all(api, planned, tmp_path / "gone", done=lambda _: None)
    with pytest.raises(NotFound):
        await api.get("/clients/billing")
    await steps.take_all(api, planned, tmp_path, done=lambda _: None)
    assert steps.credentials_path(tmp_path, "billing").stat().st_mode & 0o777 == 0o600


class Stuck(Admin):
    """A file of this name appears while a client is made, and nothing can be removed."""

    path: Path

    async def post(self, path: str, members: Mapping[str, Any] | None = None) -> Any:
        self.path.touch()
        return await super().post(path, members)

    async def delete(self, path: str, *, etag: str | None = None) -> Any:
        raise RemoteError("the server is away")


async def test_who_cannot_be_taken_back_is_told(tmp_path: Path) -> None:
    """The failure stays the first one: the way out is a note to it."""
    api = Stuck(partial(call, make_gate(MemoryStore())), ISSUER)
    planned = await _steps(api, Desired.model_validate({"clients": [SECRET]}))
    api.path = steps.credentials_path(tmp_path, "billing")
    with pytest.raises(ConfigError, match="exists already") as failure:
        await steps.take_all(api, planned, tmp_path, done=lambda _: None)
    (note,) = failure.value.__notes__
    assert note.startswith("billing is still registered, and its file is missing (the server is away): run the")
    assert draft.find(api.path) is not None, "so that the same command finishes it"


async def test_no_secret_is_made_that_has_no_place() -> None:
    api = Stuck(partial(call, make_gate(MemoryStore())), ISSUER)
    planned = await _steps(api, Desired.model_validate({"clients": [SECRET]}))
    with pytest.raises(ConfigError, match="--credentials-to DIR"):
        await steps.take_all(api, planned, None, done=lambda _: None)
    assert await api.all("/clients") == []


@pytest.mark.parametrize("name", [".", ".."])
async def test_a_name_that_no_client_can_have_is_told_as_that(name: str) -> None:
    api = Admin(partial(call, make_gate(MemoryStore())), ISSUER)
    with pytest.raises(ConfigError, match=r"client_id: must be .* without a segment \. or \.\."):
        await api.post("/clients", {"client_id": name, "jwks_uri": KEYS})


class Promoted(Admin):
    """Somebody gives it a part in the admin API between the last look and its removal."""

    async def read(self, path: str) -> tuple[Any, str]:
        found = await super().read(path)
        await self.patch(path, {"scope": ["admin.owner"], "resources": [ADMIN]})
        return found


async def test_who_gets_a_part_in_the_admin_api_meanwhile_is_not_pruned() -> None:
    api = await _api(Promoted)
    planned = await _steps(api, Desired(), prune=True)
    with pytest.raises(Refused, match="client billing has changed"):
        await steps.take_all(api, planned, None, done=lambda _: None)
    assert (await api.get("/clients/billing"))["scope"] == ["admin.owner"]
