"""The folder of archives: a file is there under its name only once it is whole, and on the disk."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import zlib
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path

from affiant.errors import ConfigError
from affiant.storage.history.archive import SUFFIX, file_name
from affiant.system.files import create_private, denied

_NAME = re.compile(rf"audit-([0-9]{{15,18}})-([0-9]{{15,18}}){re.escape(SUFFIX)}")
_DRAFT = ".audit.part"  # one, because one process archives
_LEVEL = 6  # of compression
_BUFFER = 1 << 18


class Folder:
    """The archives of one server; with `is_own` the folder is made if it is missing.

    A folder that the operator named is not: its disk may not be mounted. Every method raises ConfigError, with the name
    of the folder, if it cannot be read or written.
    """

    def __init__(self, path: Path, *, is_own: bool = False) -> None:
        self.path = path
        self._is_own = is_own

    @property
    def draft_path(self) -> Path:
        """The file that is being made."""
        return self.path / _DRAFT

    def find(self, number: int) -> Path | None:
        """The archive whose name says that it has this record."""
        with self._translated():
            is_new = self._is_own and not self.path.exists()
            names = [] if is_new else [path.name for path in self.path.iterdir()]
        found = [name for name in names if (it := _NAME.fullmatch(name)) and int(it[1]) <= number <= int(it[2])]
        if len(found) > 1:
            both = " and ".join(sorted(found))
            raise ConfigError(f"{self.path}: {both} have the same records: move the wrong one to another folder")
        return self.path / found[0] if found else None

    @contextlib.contextmanager
    def draft(self) -> Iterator[gzip.GzipFile]:
        """Open a new file without its name; remove it after an error."""
        path = self.draft_path
        with self._translated():
            if self._is_own:
                self.path.mkdir(mode=0o700, exist_ok=True)
            path.unlink(missing_ok=True)  # of a process that was killed
            with os.fdopen(create_private(path), "wb", _BUFFER) as raw:
                try:
                    # Without a name and a time, the same records make the same bytes.
                    with gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as file:
                        yield file
                except BaseException:
                    path.unlink(missing_ok=True)
                    raise

    def settle(self) -> None:
        """Bring the draft to the disk, so that what is read next is what was written there."""
        with self._translated(), self.draft_path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    @contextlib.contextmanager
    def reading(self, path: Path) -> Iterator[gzip.GzipFile]:
        """The lines of this file."""
        with self._translated(), gzip.open(path, "rb") as file:
            yield file

    def name(self, first: int, last: int) -> Path:
        """Give the draft its name, for good."""
        path, draft = self.path / file_name(first, last), self.draft_path
        with self._translated():
            os.link(draft, path)  # unlike a rename never over another file
            draft.unlink()
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return path

    def discard(self) -> None:
        """Remove the draft."""
        with self._translated():
            self.draft_path.unlink(missing_ok=True)

    def digest(self, path: Path) -> bytes:
        """SHA-256 of a file."""
        with self._translated(), path.open("rb") as file:
            return file_digest(file, "sha256").digest()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OSError, zlib.error) as error:
            why = getattr(error, "strerror", None) or error
            remedy = denied(self.path, error) if isinstance(error, OSError) else ""
            raise ConfigError(
                f"the folder of audit archives, {self.path}, cannot be used ({why}): no record was deleted{remedy}"
            ) from error
