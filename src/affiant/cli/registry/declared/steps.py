"""Taking the steps: one after the other, each whole, until the end or the first that fails."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from affiant.cli.operations.road import segment
from affiant.cli.registry.declared.plan import must_stay
from affiant.client.credentials import Credentials
from affiant.errors import ConfigError, Refused
from affiant.server.admin.roles import identifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from affiant.cli.operations.road import Admin
    from affiant.cli.registry.declared.plan import Step

_CHANGED = "admin.changed"
_FOLDERS = {"api": "/apis", "client": "/clients"}


def credentials_path(folder: Path, client_id: str) -> Path:
    """Where the secret of this client goes."""
    return folder / f"{client_id}.affiant.json"


async def take_all(api: Admin, steps: Sequence[Step], folder: Path | None, *, done: Callable[[Step], None]) -> None:
    """Take these steps, and tell of each when it is done.

    Ctrl-C ends it between two steps: a secret that was made is never lost for want of its file.

    Args:
        api: the admin API.
        steps: in their order.
        folder: where the secrets go that are made.
        done: is told of each step.

    Raises:
        Error: the first failure; the steps after it were not taken.
    """
    for step in steps:
        task = asyncio.ensure_future(_take(api, step, folder))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            if task.exception() is None:
                done(step)
            raise
        done(step)


async def _take(api: Admin, step: Step, folder: Path | None) -> None:
    path = f"{_FOLDERS[step.kind]}/{segment(step.name)}"
    if step.action == "remove":
        await _remove(api, path, step)
    elif step.action == "update":
        await _change(api, path, step)
    else:
        made = await api.post(_FOLDERS[step.kind], step.members)
        if made.get("client_secret") is not None:
            await _keep(api, path, made, folder)
        if step.then:
            await api.patch(path, step.then, etag=(await api.read(path))[1])


async def _remove(api: Admin, path: str, step: Step) -> None:
    found, etag = await api.read(path)
    if step.kind == "client" and must_stay(found, identifier(api.issuer)):
        raise _changed(step)
    with _unchanged(step):
        await api.delete(path, etag=etag)


async def _change(api: Admin, path: str, step: Step) -> None:
    found, etag = await api.read(path)
    if not step.is_still(found):
        raise _changed(step)
    with _unchanged(step):
        await api.patch(path, step.members, etag=etag)


@contextlib.contextmanager
def _unchanged(step: Step) -> Iterator[None]:
    try:
        yield
    except Refused as error:
        if error.error != _CHANGED:
            raise
        raise _changed(step, error.trace_id) from None


def _changed(step: Step, trace_id: str | None = None) -> Refused:
    told = f"{step.kind} {step.name} was changed by somebody else since the plan was made: plan again"
    return Refused(_CHANGED, description=told, trace_id=trace_id, status=412)


async def _keep(api: Admin, path: str, made: dict[str, Any], folder: Path | None) -> None:
    """Write the credentials file; where that fails, a client whose secret nobody has is taken back."""
    credentials = Credentials(
        issuer=api.issuer,
        client_id=made["client_id"],
        auth_method=made["token_endpoint_auth_method"],
        alg=made["token_endpoint_auth_signing_alg"],
        client_secret=made["client_secret"],
        scope=" ".join(made["scope"]) or None,
        resource=made["resources"][0] if len(made["resources"]) == 1 else None,
    )
    try:
        if folder is None:
            raise ConfigError(f"client {made['client_id']} has a secret, and nowhere to put it: --credentials-to DIR")
        credentials.write(credentials_path(folder, made["client_id"]))
    except ConfigError:
        await api.delete(path)
        raise
