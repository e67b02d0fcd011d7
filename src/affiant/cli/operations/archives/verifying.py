"""Verify archives and exports, one after the other, as one chain."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import file_digest
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from affiant.errors import ConfigError
from affiant.jose.keys import PublicKey
from affiant.storage.entries import AuditHead, AuditRow
from affiant.storage.history.archive import MAGIC, End, Place, Reading
from affiant.storage.history.audit_chain import Broken, Damage, Verification, parse_line

File = gzip.GzipFile | BufferedReader
Rows = Iterator[tuple[AuditRow, bytes]]


class Checked(NamedTuple):
    """A file that was read to its end; `end` and `key` are of an archive."""

    path: Path
    first: int
    last: Place
    end: End | None
    key: PublicKey | None
    sha256: str


class Chain:
    """Takes files in the order of their records; the chain must go on from each to the next.

    Args:
        key: of the chain; None verifies signatures only.
        expected: a head that was noted down, of a record in these files.
        thumbprints: of the keys that may have signed; empty for any.
        gaps: whether the one file is a selection.

    Raises:
        Broken: on the first damage, also where a file is missing between two.
        ConfigError: a file cannot be read, or needs the master key.
    """

    def __init__(
        self, key: bytes | None, *, expected: AuditHead | None, thumbprints: Sequence[str] = (), gaps: bool = False
    ) -> None:
        self._verification = None if key is None else Verification(key, expected=expected)
        self._thumbprints = thumbprints
        self._gaps = gaps
        self.files: list[Checked] = []

    def read(self, paths: Sequence[Path]) -> None:
        """Read all of these."""
        for _, path in sorted((_first(path), path) for path in paths):
            self.files.append(self._archive(path) if _is_archive(path) else self._export(path))

    def finish(self) -> AuditHead:
        """The end of the last file."""
        if self._verification is not None:
            return self._verification.finish()
        last = self.files[-1].last
        return AuditHead(last.number, last.link, last.number)

    def _archive(self, path: Path) -> Checked:
        with _opened(path) as file:
            reading = Reading(file, path)
            if not self.files and self._verification is not None:
                # The first file that was given need not be the first of all.
                previous = bytes.fromhex(reading.header.previous)
                self._verification.resume(AuditRow(reading.header.first, "", b"", b""), previous)
            last = self._rows(path, reading.rows())
            assert reading.end is not None  # noqa: S101 - its rows have ended
            end, key = reading.end
        if self._thumbprints and key.thumbprint not in self._thumbprints:
            message = f"{path} is signed by the key {key.thumbprint}, which is none of those that were given"
            raise Broken(message, damage=Damage.SIGNATURE, number=end.first)
        with path.open("rb") as raw:
            digest = file_digest(raw, "sha256").hexdigest()
        return Checked(path, reading.header.first, last, end, key, digest)

    def _export(self, path: Path) -> Checked:
        if self._verification is None:
            raise ConfigError(f"{path} is not signed: only the master key can verify it")
        with _opened(path) as file:
            last = self._rows(path, _lines(path, file))
        return Checked(path, _first(path), last, None, None, "")

    def _rows(self, path: Path, rows: Rows) -> Place:
        last, is_first = Place(0, b""), True
        for row, previous in rows:
            if is_first and self.files:
                self._follow(path, row.number, previous)
            is_first = False
            if self._verification is not None and self._gaps:
                self._verification.resume(row, previous)
            if self._verification is not None:
                self._verification.feed(row, previous)
            last = Place(row.number, row.link)
        return last

    def _follow(self, path: Path, number: int, previous: bytes) -> None:
        before = self.files[-1]
        if number <= before.last.number:
            raise ConfigError(f"{path} has records that {before.path} has too: leave one out")
        if number > before.last.number + 1:
            first, last = before.last.number + 1, number - 1
            what = f"record {first} is" if first == last else f"records {first} to {last} are"
            message = f"{what} in no file that was given: one is missing between {before.path} and {path}"
            raise Broken(message, damage=Damage.DELETED, number=first)
        if previous != before.last.link:
            message = f"{path} does not follow {before.path}: it is of another log, or one of them was changed"
            raise Broken(message, damage=Damage.EDITED, number=number)


def _lines(path: Path, file: File) -> Rows:
    for place, line in enumerate(file, 1):
        try:
            yield parse_line(line)
        except ValueError as error:
            raise ConfigError(f"{path}:{place} is not a line of an export: {error}") from None


def _first(path: Path) -> int:
    """Return the number of the first record; 0 for a file without one."""
    with _opened(path) as file:
        if _is_archive(path):
            return Reading(file, path).header.first
        return next((row.number for row, _ in _lines(path, file)), 0)


def _is_archive(path: Path) -> bool:
    with _translated(path), path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


@contextmanager
def _opened(path: Path) -> Iterator[File]:
    with _translated(path), gzip.open(path) if _is_archive(path) else path.open("rb") as file:
        yield file


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
