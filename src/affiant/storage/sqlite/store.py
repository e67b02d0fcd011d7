"""All ports on one SQLite file."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from affiant.errors import ConfigError, StoreError
from affiant.storage.sqlite.connection import connect, create, migrate, translated
from affiant.storage.sqlite.copies import locked, restoring
from affiant.storage.sqlite.keys import SqliteInitialAccessTokens, SqliteKeyUses
from affiant.storage.sqlite.ledger import SqliteAuditLog, SqliteLedger, SqliteRefreshTokens, SqliteRevocations
from affiant.storage.sqlite.pages import Pages
from affiant.storage.sqlite.registry import SqliteApis, SqliteClients, SqliteSettings, SqliteSigningKeys
from affiant.storage.sqlite.writer import Writer

FILE_NAME = "affiant.db"


class SqliteStore:
    """The store in this file. Several processes may open it at once."""

    def __init__(self, path: Path, *, audit_key: bytes = b"") -> None:
        self._path = path
        self._lock = contextlib.ExitStack()
        self._reading: sqlite3.Connection | None = None
        self._paging: Pages | None = None
        self._writing: Writer | None = None
        parts = (self._reader, self._pages, self._writer, audit_key)
        self.clients = SqliteClients(*parts)
        self.apis = SqliteApis(*parts)
        self.signing_keys = SqliteSigningKeys(*parts)
        self.initial_access_tokens = SqliteInitialAccessTokens(*parts)
        self.key_uses = SqliteKeyUses(*parts)
        self.settings = SqliteSettings(*parts)
        self.refresh_tokens = SqliteRefreshTokens(self._reader, self._pages)
        self.revocations = SqliteRevocations(self._reader, self._pages)
        self.audit_log = SqliteAuditLog(self._reader, self._pages)
        self.ledger = SqliteLedger(self._writer, self._reader, audit_key)

    async def open(self) -> None:
        """See Store."""
        create(self._path)
        if restoring(self._path).exists():
            raise ConfigError(
                f"a backup was only half put in the place of {self._path}: run  affiant db restore  again"
            )
        self._lock.enter_context(locked(self._path, alone=False))
        try:
            self._reading = connect(self._path)
            with translated():
                migrate(self._reading)
            self._paging = Pages(self._path, connect)
            self._writing = Writer(self._path, connect)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self._writing is not None:
            self._writing.close()
            self._writing = None
        if self._paging is not None:
            self._paging.close()
            self._paging = None
        if self._reading is not None:
            self._reading.close()
            self._reading = None
        self._lock.close()

    async def version(self) -> int:
        with translated():
            (number,) = self._reader().execute("SELECT number FROM version").fetchone()
        return int(number)

    def _reader(self) -> sqlite3.Connection:
        if self._reading is None:
            raise StoreError("the database is not open")
        return self._reading

    def _pages(self) -> Pages:
        if self._paging is None:
            raise StoreError("the database is not open")
        return self._paging

    def _writer(self) -> Writer:
        if self._writing is None:
            raise StoreError("the database is not open")
        return self._writing
