"""Checks of the database: whether it is whole, of this version, and set up well."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from affiant.cli.connection.data import shown_place
from affiant.cli.diagnosis.checkup.finding import BAD, GOOD, WARNING, Finding
from affiant.cli.diagnosis.checkup.installation.inspected import MIB, Installation
from affiant.errors import Error
from affiant.jose.claims import LEEWAY
from affiant.storage.sqlite import inspection
from affiant.storage.sqlite.store import FILE_NAME
from affiant.system.text import one_line

if TYPE_CHECKING:  # it loads asyncpg, which is an extra
    from affiant.storage.postgres.inspection import Facts

_OLDEST = 140_000  # server_version_num of PostgreSQL 14
_A_PROCESS = 6  # connections that each process may have
_LARGE_LOG = 256 * MIB
_UNNOTICED = 5.0  # seconds


def database(found: Installation) -> Iterator[Finding]:
    """It answers, is whole, and has the schema of this version."""
    if not found.has_data:
        return
    yield from _sqlite(found) if found.chosen.database is None else _postgres(found, found.chosen.database)


def _sqlite(found: Installation) -> Iterator[Finding]:
    path = found.chosen.data / FILE_NAME
    try:
        facts = inspection.inspect(path)
    except Error as error:
        restore = f"affiant db restore FILE --data {found.chosen.data}"
        fix = "free disk space first, and run this again: docs/how-to/operate.md" if found.is_full else restore
        yield Finding("database", BAD, one_line(error), fix)
        return
    schema = _schema(facts.schema, facts.known)
    found.is_current = schema.state == GOOD
    if found.is_current:
        yield Finding("database", GOOD, f"SQLite, {facts.size / MIB:,.0f} MiB, no damage found")
    yield schema
    if facts.log_size > _LARGE_LOG:
        text = f"the write-ahead log has {facts.log_size / MIB:,.0f} MiB: a process keeps a read transaction open"
        yield Finding("write-ahead log", WARNING, text, f"fuser -v {path}, and end what is not affiant serve")


def _schema(done: int | None, known: int) -> Finding:
    if done == known:
        return Finding("schema", GOOD, f"number {known}, as this version has it")
    if done is None:
        return Finding("schema", BAD, "the database has no tables of affiant", "affiant doctor --database URL")
    if done > known:
        return Finding("schema", BAD, f"number {done} is of a newer affiant", "pip install --upgrade affiant")
    text = f"number {done} is of an older affiant, so the checks of its contents are left out"
    return Finding("schema", WARNING, text, "affiant db migrate, or start this version's server")


def _postgres(found: Installation, url: str) -> Iterator[Finding]:
    from affiant.storage.postgres.inspection import inspect

    try:
        facts = asyncio.run(inspect(url))
    except Error as error:
        yield Finding("database", BAD, one_line(error), "psql, with the same URL, from this machine")
        return
    version = f"{facts.version // 10_000}.{facts.version % 10_000}"
    text = f"PostgreSQL {version}, {facts.size / MIB:,.0f} MiB"
    state = GOOD if facts.version >= _OLDEST else BAD
    yield Finding("database", state, text, "upgrade it to PostgreSQL 14 or newer")
    schema = _schema(facts.schema, facts.known)
    found.is_current = schema.state == GOOD and state == GOOD
    yield schema
    yield from _settings(found, facts)
    yield _clock(facts.offset)


def _settings(found: Installation, facts: Facts) -> Iterator[Finding]:
    if not facts.is_encrypted and not facts.is_local:
        text = f"the connection to {shown_place(found.chosen)} is not encrypted"
        yield Finding("encryption", WARNING, text, "add ?sslmode=verify-full&sslrootcert=FILE to AFFIANT_DATABASE")
    if facts.is_superuser:
        text = "the role of the server is a superuser: an error in SQL could do anything"
        yield Finding("role", WARNING, text, "ALTER ROLE ... NOSUPERUSER, or a role that only owns this database")
    wanted = found.chosen.workers * _A_PROCESS
    text = f"{facts.connections} of {facts.max_connections} are open, and a node of {found.chosen.workers} workers"
    text += f" needs {wanted}"
    state = WARNING if facts.max_connections < max(wanted, facts.connections + _A_PROCESS) else GOOD
    yield Finding("connections", state, text, "raise max_connections of PostgreSQL, or lower AFFIANT_WORKERS")


def _clock(offset: float) -> Finding:
    side = "ahead of" if offset > 0 else "behind"
    text = f"this machine's clock is {abs(offset):.1f} s {side} that of the database"
    state = GOOD if abs(offset) < _UNNOTICED else WARNING if abs(offset) < LEEWAY else BAD
    return Finding("database clock", state, text, "timedatectl set-ntp true, on the machine whose clock is wrong")
