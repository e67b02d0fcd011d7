"""Checks of the machine: files and their owners, disk, open files, processors, clock."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from affiant.cli.connection import data as connection
from affiant.cli.diagnosis.checkup.finding import BAD, GOOD, WARNING, Finding
from affiant.cli.diagnosis.checkup.installation.inspected import MIB, Installation
from affiant.cli.server.listening.table import RESERVE
from affiant.errors import ConfigError
from affiant.server.keys import key_source
from affiant.storage.sqlite.store import FILE_NAME
from affiant.system.files import user
from affiant.system.text import one_line

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_LEAST_FREE, _FEW_FREE = 64 * MIB, 1024 * MIB
_SIDE_FILES = ("", "-wal", "-shm", ".lock")
_TIME_ERROR, _TIMEX_BYTES = 5, 512  # adjtimex(2): the clock is not synchronized; more than a struct timex has


def data(found: Installation) -> Iterator[Finding]:
    """There is a database, which this user may read."""
    try:
        found.has_data = connection.has_data(found.chosen)
    except ConfigError as error:
        yield Finding("data", BAD, one_line(error), "run it as the user of the server")
        return
    place = connection.shown_place(found.chosen)
    if found.has_data:
        yield Finding("data", GOOD, f"{place}, looked at as {user(os.geteuid())}")
    else:
        text = f"there is no database in {place}"
        yield Finding("data", BAD, text, "affiant doctor --data FOLDER, with the data folder of the server")


def files(found: Installation) -> Iterator[Finding]:
    """Folder and files belong to one user, and no other may read or replace them."""
    folder = found.chosen.data.absolute()
    if not found.has_data or not folder.is_dir():
        return
    faults = list(_faults(folder))
    yield from faults
    if not faults:
        yield Finding("files", GOOD, f"{folder} and its files belong to {user(folder.stat().st_uid)} alone")


def _faults(folder: Path) -> Iterator[Finding]:
    status = folder.stat()
    if status.st_mode & _OTHERS_WRITE:
        text = f"other users may replace the files in {folder} (mode {stat.S_IMODE(status.st_mode):04o})"
        yield Finding("files", BAD, text, f"chmod 700 {shlex.quote(str(folder))}")
    for name in (*(f"{FILE_NAME}{tail}" for tail in _SIDE_FILES), key_source.FILE_NAME):
        with contextlib.suppress(FileNotFoundError):
            status_of = (folder / name).stat()
            place = shlex.quote(str(folder / name))
            if stat.S_IMODE(status_of.st_mode) & 0o077:
                text = f"others may read {folder / name} (mode {stat.S_IMODE(status_of.st_mode):04o})"
                # Attack: a link to a file of the system, whose mode the operator would change.
                is_link = (folder / name).is_symlink()
                yield Finding("files", BAD, text, f"ls -lL {place}: it is a link" if is_link else f"chmod 600 {place}")
            if status_of.st_uid != status.st_uid:
                owner = user(status.st_uid)
                text = f"{folder / name} belongs to {user(status_of.st_uid)}, and its folder to {owner}"
                yield Finding("files", BAD, text, f"chown -h {owner}: {place}")


def disk(found: Installation) -> Iterator[Finding]:
    """The disk of the data folder has room."""
    if not found.has_data or not found.chosen.data.is_dir():
        return
    found.free = shutil.disk_usage(found.chosen.data).free
    text = f"{found.free / MIB:,.0f} MiB are free"
    fix = "free disk space, or move to a larger disk: docs/how-to/operate.md"
    found.is_full = found.free < _LEAST_FREE
    if found.is_full:
        yield Finding("disk", BAD, f"{text}: soon no token is issued", fix)
    else:
        yield Finding("disk", WARNING if found.free < _FEW_FREE else GOOD, text, fix)


def open_files(found: Installation) -> Iterator[Finding]:
    """The limit of open files, as this user has it here, allows max_connections."""
    needed, (_, hard) = found.chosen.max_connections + RESERVE, resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard in (resource.RLIM_INFINITY, -1) or hard >= needed:
        yield Finding("open files", GOOD, f"max_connections = {found.chosen.max_connections} fits into the limit")
        return
    text = f"the hard limit is {hard} here, and max_connections = {found.chosen.max_connections} needs {needed}"
    fix = f"LimitNOFILE={needed} in systemd, --ulimit nofile={needed} in Docker, or lower max_connections"
    yield Finding("open files", WARNING, text, fix)


def workers(found: Installation) -> Iterator[Finding]:
    """There are no more workers than processors."""
    processors, chosen = len(os.sched_getaffinity(0)), found.chosen.workers
    text = f"{chosen} on {processors} processor{'s' if processors > 1 else ''}"
    state = WARNING if chosen > max(2, processors) else GOOD  # a second one answers while the first is restarted
    yield Finding("workers", state, text, f"AFFIANT_WORKERS={processors}: more only wait for each other")


def ntp(_: Installation) -> Iterator[Finding]:
    """The kernel reports that an NTP client keeps the clock synchronized."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):  # not Linux
        state = -1
    if state == _TIME_ERROR:
        yield Finding("ntp", WARNING, "the clock of this machine is not synchronized", "timedatectl set-ntp true")
    elif state < 0:
        yield Finding("ntp", GOOD, "this system does not report it: keep NTP running")
    else:
        yield Finding("ntp", GOOD, "the clock of this machine is synchronized")
