"""Archive old audit records: first a signed file that was read back, then a record of it, and then the rows go.

Order: a process that is killed at any step leaves the rows, or the file and what is left of the rows. The next one
finds the file by its name, verifies it against the log, and goes on.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from affiant.errors import ConfigError, Error, StoreError
from affiant.jose import compact
from affiant.jose.keys import PublicKey
from affiant.server.keys import calendar as rules
from affiant.server.keys import signing_keys
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Opened, Vault
from affiant.server.request.audit.archiving.folder import Folder
from affiant.server.request.audit.archiving.slices import Slices
from affiant.server.request.audit.sinks.lag import PREFIX
from affiant.storage.entries import AuditBase, AuditRecord, AuditRow, Entry
from affiant.storage.history.archive import TYP, End, Place, Reading, Writing, end_line, instant_of, trace_of
from affiant.storage.history.audit_chain import Verification
from affiant.storage.history.base import build_base, is_sealed
from affiant.storage.ports import Store
from affiant.system.values import Value

log: logging.Logger = logging.getLogger(__name__)
DAY = 86_400
LOOK_SECONDS = 60.0  # between two looks for records that are old enough
FILE_RECORDS = 1_000_000  # of one file, so that a process that is killed loses minutes of work
NAME = "audit archive"  # of the cursor
THE_SETTING = "audit_keep"  # the author of archives that no operator asked for
_LEASE_SECONDS = 120
_PAUSE_SECONDS = 0.005  # after each piece, at least
_PAGE = 250  # rows that are read, and deleted, at once


class Busy(StoreError):
    """Another process archives."""

    def __init__(self) -> None:
        super().__init__(f"another process archives the audit log, or stopped within the last {_LEASE_SECONDS} s")


class Due(Value, frozen=True):
    """Records that are old enough, and the times of the first and the last."""

    first: int
    count: int
    since: float
    until: float


class _Found(NamedTuple):
    """A file that was read to its end."""

    end: End
    key: PublicKey
    steps: list[AuditBase]  # the bases to which the log moves, one after the other


class Archived(NamedTuple):
    """A file, what it has, and how many rows are gone."""

    path: Path
    end: End
    digest: str  # SHA-256 of the file, hexadecimal
    thumbprint: str  # of the key that signed
    dropped: int


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a server that archive."""

    issuer: str
    store: Store
    master_key: MasterKey
    vault: Vault
    folder: Folder
    clock: Callable[[], float]


class Retention:
    """Archives the audit log of one server; of all processes and nodes, one at a time.

    Args:
        parts: of the server.
        by: the operator or setting, for the audit record.
        rest: pause after each slice of work, in multiples of its duration: requests go first.
        most: records of one file.
    """

    def __init__(self, parts: Parts, *, by: str = THE_SETTING, rest: float = 3.0, most: int = FILE_RECORDS) -> None:
        self._parts = parts
        self._log = parts.store.audit_log
        self._by = by
        self._rest = rest
        self._most = most
        self._holder = secrets.token_hex(8)
        self._problem = ""
        self._taken_at = -math.inf

    async def keep(self, seconds: int) -> None:
        """Archive whole days of which every record is older than this. The log and the cursor have failures."""
        unit = min(seconds, DAY)
        try:
            async for archived in self.archive((self._parts.clock() - seconds) // unit * unit):
                log.info("archived %d audit records in %s", archived.end.count, archived.path)
            problem = ""
        except Busy:
            return
        except Error as error:
            problem = str(error)
            if problem != self._problem:
                log.warning("%s: %s", NAME, error)
        self._problem = problem
        noted = {cursor.name: cursor.problem for cursor in await self._parts.store.cursors.list()}
        if noted.get(NAME, problem) != problem:  # another process may have noted it
            await self._parts.store.cursors.advance(NAME, self._holder, 0, problem)

    async def due(self, before: float) -> Due:
        """Count the records that `archive` would archive."""
        before = min(before, self._parts.clock())
        base = await self._base()
        first, count, since, until = base.number + 1, 0, 0.0, 0.0
        async for row in self._old(base, before, most=math.inf):
            until = instant_of(row)
            since = since if count else until
            count += 1
        return Due(first, count, since, until)

    async def archive(self, before: float) -> AsyncIterator[Archived]:
        """Archive all records before this instant, a file at a time.

        Raises:
            Busy: another process archives.
            Broken: the chain of the log is broken; nothing of that file is deleted.
            ConfigError: the folder cannot be used, or has another file for these records; nothing is deleted.
            StoreError: the database or the signer failed.
        """
        before = min(before, self._parts.clock())  # or it would archive the records of its own files, without end
        await self._keep_lease(anew=True)
        try:
            while (archived := await self._next(before)) is not None:
                yield archived
                await self._keep_lease()
        finally:
            await self._parts.store.cursors.release(NAME, self._holder)

    async def _take(self) -> int | None:
        now = int(self._parts.clock())
        return await self._parts.store.cursors.take(NAME, self._holder, now=now, seconds=_LEASE_SECONDS)

    async def _keep_lease(self, *, anew: bool = False) -> None:
        """Prolong the lease now and then: each time is a commit."""
        now = time.monotonic()
        if anew or now - self._taken_at > _LEASE_SECONDS / 6:
            if await self._take() is None:
                raise Busy
            self._taken_at = now

    async def _next(self, before: float) -> Archived | None:
        """Archive one file, or go on with one that a killed process has left."""
        base = await self._base()
        folder = self._parts.folder
        path = folder.find(base.number + 1)
        if path is not None:
            found = await self._read(path, base)
        elif await self._write(base, before):
            found = await self._read(folder.draft_path, base)
            path = folder.name(found.end.first, found.end.last)
        else:
            return None
        digest = await Slices(self._rest).thread(lambda: folder.digest(path))
        await self._record(path, found, digest)
        return Archived(path, found.end, digest.hex(), found.key.thumbprint, await self._drop(found))

    async def _base(self) -> AuditBase:
        base = await self._log.base()
        if not is_sealed(base, self._parts.master_key.audit):
            raise StoreError("the audit log is broken, so nothing is archived: affiant audit verify")
        return base

    async def _old(self, base: AuditBase, before: float, *, most: float) -> AsyncIterator[AuditRow]:
        """Yield the verified records that are old enough, without gaps; not those that a sink has still to send."""
        slices, after = Slices(self._rest), base.number
        verification = Verification(self._parts.master_key.audit, base=base)
        last, is_over = min(base.number + most, await self._sent()), False
        while page := await self._log.export(after=after, limit=_PAGE):
            for row in page:
                is_over = row.number > last or instant_of(row) >= before
                if is_over:
                    break
                verification.feed(row)
                yield row
                await slices.turn()
            verification.finish()  # raises before a damaged record is signed
            if is_over:
                return
            after = page[-1].number

    async def _sent(self) -> float:
        cursors = await self._parts.store.cursors.list()
        return min((cursor.number for cursor in cursors if cursor.name.startswith(PREFIX)), default=math.inf)

    async def _write(self, base: AuditBase, before: float) -> bool:
        writing = Writing(self._parts.issuer, Place(base.number, base.link))
        slices, folder = Slices(self._rest), self._parts.folder
        with folder.draft() as file:
            block = bytearray(writing.header())
            async for row in self._old(base, before, most=self._most):
                block += writing.add(row)
                if len(block) > 1 << 18:
                    await slices.thread(partial(file.write, bytes(block)))
                    block.clear()
                    await self._keep_lease()
            if writing.count:
                file.write(bytes(block) + end_line(await self._signed(writing)))
        if not writing.count:
            folder.discard()
            return False
        await slices.thread(folder.settle)
        return True

    async def _read(self, path: Path, base: AuditBase) -> _Found:
        """Read a file back, and verify it against its signature, the master key, and what is left of its rows."""
        slices, steps, key = Slices(self._rest), list[AuditBase](), self._parts.master_key.audit
        verification = Verification(key)
        with self._parts.folder.reading(path) as file:
            reading = Reading(file, path)
            for row, previous in reading.rows():
                if row.number == reading.header.first:
                    verification.resume(row, previous)
                    _compare(path, base, Place(row.number - 1, previous))
                verification.feed(row, previous)
                _compare(path, base, Place(row.number, row.link))
                if row.number % _PAGE == 0:
                    steps.append(build_base(row.number, row.link, at=int(instant_of(row)), key=key))
                await slices.turn()
            _ = verification.finish()
        assert reading.end is not None  # noqa: S101 - rows() has ended
        end, signer = reading.end
        last = build_base(end.last, bytes.fromhex(end.link), at=int(end.until), key=key)
        for row in await self._log.export(after=end.last - 1, limit=1):
            _compare(path, last, Place(row.number, row.link))
        left = [step for step in steps if base.number < step.number < last.number]
        return _Found(end, signer, [*left, last])

    async def _record(self, path: Path, found: _Found, digest: bytes) -> None:
        """Append the record of this file to the log, once: the chain then says what the file must be."""
        trace_id = trace_of(digest)
        if await self._log.find(trace_id) is not None:
            return
        end, key = found.end, found.key
        members = {name: getattr(end, name) for name in ("first", "last", "count", "previous", "link")}
        record = AuditRecord(
            at=self._parts.clock(),
            trace_id=trace_id,
            endpoint="audit",
            outcome="archived",
            alg=key.alg,
            kid=key.kid,
            thumbprint=key.thumbprint,
            by=self._by,
            subject=path.name,
            after=msgspec.json.encode({**members, "sha256": digest.hex()}).decode(),
        )
        await self._parts.store.ledger.claim(Entry(record))

    async def _drop(self, found: _Found) -> int:
        """Delete the rows in small pieces, each with the new base in one commit."""
        slices, dropped = Slices(self._rest), 0
        for step in found.steps:
            await self._keep_lease()
            began = time.perf_counter()
            dropped += await self._log.drop(step)
            await slices.rest(max(time.perf_counter() - began, _PAUSE_SECONDS) if self._rest else 0.0)
        await self._parts.store.cursors.advance(NAME, self._holder, found.end.last)
        return dropped

    async def _signed(self, writing: Writing) -> str:
        key = await self._key()
        end = writing.end(int(self._parts.clock()), key.public.to_jwk())
        return await compact.sign_with(TYP, end, key.signer)

    async def _key(self) -> Opened:
        now = self._parts.clock()
        await signing_keys.ensure(self._parts.store, self._parts.vault, now=int(now))
        line = rules.of_line(await self._parts.store.signing_keys.list(), signing_keys.DEFAULT_LINE)
        key = rules.find_signer(line, now)
        if key is None:
            raise ConfigError(f"no key signs the audit archive: {signing_keys.HOW}")
        return self._parts.vault.open(key)


def _compare(path: Path, known: Place | AuditBase, read: Place) -> None:
    if known.number == read.number and known.link != read.link:
        raise ConfigError(
            f"{path} has other records than the log, as after the restore of an older backup: move it to another"
            " folder; nothing was deleted"
        )
