"""`affiant master-key`."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any

import click

from affiant.cli.arguments import FILE
from affiant.cli.connection import local
from affiant.cli.connection.data import store_options, with_store
from affiant.cli.output import show
from affiant.errors import ConfigError
from affiant.server.keys import key_source, rotation
from affiant.server.keys.key_source import Source
from affiant.server.keys.master_key import BYTES, MasterKey, Rings, fingerprint
from affiant.server.keys.rotation import Doer
from affiant.server.settings import Settings
from affiant.storage.ports import Store
from affiant.system.text import instant

_NEXT = ".new"  # of the file in the data folder that has the new key until the database knows it


@click.group("master-key")
def master_key() -> None:
    """These commands work on the data itself: they have no --url. No key is shown, only its fingerprint.

    \b
    affiant master-key show
    affiant master-key rotate
    affiant master-key finish
    """


@master_key.command("show")
@store_options
def show_(chosen: Settings) -> None:
    """Show its source, fingerprint and rotation."""
    source = _source(chosen)

    async def work(store: Store, key: MasterKey) -> dict[str, Any]:
        rings, seen = await rotation.find(store), await store.settings.get(rotation.SEEN)
        return {
            "fingerprint": key.fingerprint,
            "source": source.shown,
            "rotated_at": rings.rotated_at if rings is not None else None,
            "newest": rings.newest if rings is not None else key.fingerprint,
            "former": rings.former if rings is not None else None,
            "is_finished": rings is None or rotation.is_finished(rings, key),
            "former_seen_at": int(seen) if seen is not None and rings is not None and rings.former else None,
        }

    found = with_store(chosen, work)
    lines = [f"{found['fingerprint']}  from {found['source']}"]
    if found["former"] is not None:
        seen = f", last used by a server at {instant(found['former_seen_at'])}" if found["former_seen_at"] else ""
        lines.append(f"a rotation to {found['newest']} is under way: {found['former']} still opens the database{seen}")
    elif not found["is_finished"]:
        lines.append("the rotation was interrupted, and some secrets are sealed as before: affiant master-key finish")
    elif found["rotated_at"] is not None:
        lines.append(f"rotated at {instant(found['rotated_at'])}")
    show(found, *lines)


@master_key.command()
@click.option("--to", "target", type=FILE, help="new file for the new key, where the key is not in the data folder")
@store_options
def rotate(target: Path | None, chosen: Settings) -> None:
    """Make a new master key.

    Until `finish`, the database opens with both.

    Servers go on, and no client notices. A key in the data folder is replaced there, and the former one kept under
    another name. Elsewhere, put the new file in place of the former one on every node. Restart every server, and then:

    \b
    affiant master-key finish
    """
    source = _source(chosen)
    if source.is_default and target is not None:
        raise ConfigError("the master key is in the data folder, and the new one too: leave --to out")
    if not source.is_default and target is None:
        raise ConfigError(f"the master key is {source.shown}: name a new file for the new one with --to")
    path = target or source_path(source).with_name(key_source.FILE_NAME + _NEXT)

    async def work(store: Store, key: MasterKey) -> tuple[str, str]:
        rings = await rotation.find(store)
        if rings is not None and rings.former is not None and not path.exists():
            raise ConfigError(rotation.under_way(rings))  # before another key is made
        given = _make(path, rings)
        if rings is None or rings.newest != fingerprint(given):
            await rotation.begin(store, key, given, _doer())
        return key.fingerprint, fingerprint(given)

    former, new = with_store(chosen, work)
    kept = _replace(source_path(source), path, former) if source.is_default else None
    lines = [f"the master key {new} is in {path if kept is None else source.path}; {former} opens the database too"]
    lines += [f"the former one is kept in {kept}: backups of until now need it"] if kept is not None else []
    lines.append(
        "restart every server" if kept is not None else f"put it in place of {source.shown} on every node, and restart"
    )
    members = {"fingerprint": new, "former": former, "file": str(path if kept is None else source.path)}
    show({**members, "kept": str(kept) if kept is not None else None}, *lines, "then  affiant master-key finish")


@master_key.command()
@click.option("--at-once", is_flag=True, help="although a server may still have the former key: it would fail")
@store_options
def finish(at_once: bool, chosen: Settings) -> None:
    """End a rotation: only the new key opens.

    All secrets are sealed again.

    It is refused while a server still runs with the former key: each one notes that twice a minute.
    """
    now = int(time.time())

    async def work(store: Store, key: MasterKey) -> int:
        rings, seen = await rotation.find(store), await store.settings.get(rotation.SEEN)
        if rings is not None and rings.former is not None and rings.newest == key.fingerprint and not at_once:
            _check_quiet(max(rings.rotated_at, int(seen or 0)), now, is_seen=int(seen or 0) > rings.rotated_at)
        return await rotation.finish(store, key, _doer())

    number = with_store(chosen, work)
    show({"resealed": number}, f"only the new master key opens the database; {number} secrets were sealed again")


@master_key.command()
@store_options
def cancel(chosen: Settings) -> None:
    """Give up a rotation.

    With the former key, such as when the new one was lost.

    Servers with the new key will not start again.
    """

    async def work(store: Store, key: MasterKey) -> str:
        return await rotation.cancel(store, key, _doer())

    lost = with_store(chosen, work)
    show({"cancelled": lost}, f"the master key {lost} no longer opens the database")


def _source(chosen: Settings) -> Source:
    return key_source.find(chosen.data, chosen.master_key_file)


def source_path(source: Source) -> Path:
    return source.path or Path(key_source.FILE_NAME)


def _doer() -> Doer:
    return Doer(local.user(), int(time.time()))


def _make(path: Path, rings: Rings | None) -> bytes:
    """Return the new key, durable in this file; one that an interrupted rotation left there is used."""
    material = secrets.token_bytes(BYTES)
    if key_source.write_anew(path, material):
        return material
    left = key_source.read(Source("--to", path))
    if path.name != key_source.FILE_NAME + _NEXT and (rings is None or rings.newest != fingerprint(left)):
        raise ConfigError(f"{path} exists already: name another file")
    return left


def _replace(path: Path, new: Path, former: str) -> Path:
    """Put the new key in place of the former one, which gets another name."""
    kept = path.with_name(f"{path.name}.{former}")
    try:
        kept.unlink(missing_ok=True)
        kept.hardlink_to(path)
        new.replace(path)  # Order: there is a key under this name at every moment
        _settle(path.parent)
    except OSError as error:
        raise ConfigError(f"{new} was not put in place of {path}: {error.strerror}; run the command again") from error
    return kept


def _settle(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_quiet(since: int, now: int, *, is_seen: bool) -> None:
    left = since + rotation.QUIET_SECONDS - now
    if left <= 0:
        return
    if is_seen:
        raise ConfigError(
            f"a server still ran with the former master key {now - since} s ago: put the new key in place there, and"
            " restart it"
        )
    raise ConfigError(
        f"servers with the former master key are known only in {left} s: try again then, or with --at-once if all were"
        " restarted"
    )
