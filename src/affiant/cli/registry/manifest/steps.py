"""Execute the steps of a plan in order, until the end or the first failure."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from affiant.cli.connection.admin import Admin, segment
from affiant.cli.registry.handover import delivery, draft
from affiant.cli.registry.manifest.plan import Step, must_stay
from affiant.cli.registry.manifest.registry_file import Desired
from affiant.client.credentials import file_name
from affiant.errors import ConfigError, Refused
from affiant.server.admin.roles import identifier

_CHANGED = "admin.changed"
_FOLDERS = {"api": "/apis", "client": "/clients"}


def credentials_path(folder: Path, client_id: str) -> Path:
    """Return the path of this client's credentials file."""
    return folder / file_name(client_id)


def lost(api: Admin, wanted: Desired, clients: Sequence[Mapping[str, Any]], folder: Path | None) -> Iterator[str]:
    """Yield the clients of the file with a lost secret: a stopped run created it, but wrote no file to this folder."""
    named = {client.client_id for client in wanted.clients} if folder is not None else set()
    for client in clients:
        name = client["client_id"]
        left = draft.find(credentials_path(folder or Path(), name)) if name in named else None
        if left is not None and left.issuer == api.issuer and delivery.is_lost(left, client):
            yield name


async def take_all(api: Admin, steps: Sequence[Step], folder: Path | None, *, done: Callable[[Step], None]) -> None:
    """Execute these steps, and pass each one to `done`.

    Ctrl-C ends it between two steps, so that a new secret always gets its file.
    """
    for step in steps:
        await delivery.to_the_end(_take(api, step, folder, done))


async def _take(api: Admin, step: Step, folder: Path | None, done: Callable[[Step], None]) -> None:
    if step.action == "remove":
        await _remove(api, step)
    elif step.recovers_secret:
        await _recover(api, step, folder or Path())
    elif step.action == "update":
        await _change(api, step)
    else:
        await _create(api, step, folder)
    done(step)


async def _create(api: Admin, step: Step, folder: Path | None) -> None:
    if step.makes_secret and folder is None:
        raise ConfigError(f"{step.name} gets a client secret: pass --credentials-to DIR to save it")
    if step.makes_secret:
        await delivery.register(api, step.members, credentials_path(folder or Path(), step.name))
    else:
        await api.post(_FOLDERS[step.kind], step.members)
    if step.then:
        path = _path(step)
        await api.patch(path, step.then, etag=(await api.read(path))[1])


async def _recover(api: Admin, step: Step, folder: Path) -> None:
    left = draft.find(credentials_path(folder, step.name))
    if left is None or await delivery.finish(api, left, {"client_id": step.name}) is None:
        raise _changed(step)


async def _remove(api: Admin, step: Step) -> None:
    path = _path(step)
    found, etag = await api.read(path)
    if step.kind == "client" and must_stay(found, identifier(api.issuer)):
        raise _changed(step)
    with _unchanged(step):
        await api.delete(path, etag=etag)


async def _change(api: Admin, step: Step) -> None:
    path = _path(step)
    found, etag = await api.read(path)
    if not step.is_still(found):
        raise _changed(step)
    with _unchanged(step):
        await api.patch(path, step.members, etag=etag)


def _path(step: Step) -> str:
    return f"{_FOLDERS[step.kind]}/{segment(step.name)}"


@contextlib.contextmanager
def _unchanged(step: Step) -> Iterator[None]:
    try:
        yield
    except Refused as error:
        if error.error != _CHANGED:
            raise
        raise _changed(step, error.trace_id) from None


def _changed(step: Step, trace_id: str | None = None) -> Refused:
    what = f"{step.kind} {step.name} has changed since the plan was made: plan again"
    return Refused(_CHANGED, description=what, trace_id=trace_id, status=412)
