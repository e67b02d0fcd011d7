"""A file of lines of JSON.

Each batch reaches the disk before the cursor moves. So the file has every record up to the cursor, also after a power
cut, and `affiant audit verify FILE` checks it. It may be renamed at any time: then the next batch begins a new one.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from affiant.server.request.audit.sinks.sink import Line, SinkError
from affiant.storage.history import audit_chain

_TAIL = 1 << 20  # bytes at the end of a file that are searched for its last line

_BEGIN = b'{"number":'


class FileSink:
    """Appends to this file, which is made with mode 0600."""

    name: str = "audit_file"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def send(self, lines: Sequence[Line]) -> None:
        """Append these, and wait for the disk."""
        try:
            file = self._open()
            left = memoryview(b"".join(line.text + b"\n" for line in lines))
            while left:
                left = left[os.write(file, left) :]
            if stat.S_ISREG(os.fstat(file).st_mode):
                os.fsync(file)
        except OSError as error:
            self.close()  # the next one looks at its end first
            raise SinkError(f"{self._path} cannot be written: {error.strerror}") from error

    def newest(self) -> tuple[int, bytes] | None:
        """Return number and link in the last line of the file."""
        try:
            tail = self._tail(self._open())
            row, _ = audit_chain.parse_line(tail.rstrip(b"\n").rpartition(b"\n")[2])
        except (OSError, ValueError):
            return None
        return row.number, row.link

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _open(self) -> int:
        """Return the file, opened again if its path leads to another one since."""
        if self._file is not None and not _is_same(self._path, self._file):
            self.close()
        if self._file is None:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            self._file = os.open(self._path, flags, 0o600)
            try:
                self._cut(self._file)
            except OSError:
                self.close()
                raise
        return self._file

    def _cut(self, file: int) -> None:
        """Cut off an incomplete last line, which a killed process has left; its record is written again."""
        size = os.fstat(file).st_size
        tail = self._tail(file)
        if not _is_ours(tail):  # a setting that names the database or affiant.toml must not damage it
            raise OSError(errno.EEXIST, "it has something else than audit records")
        if tail and not tail.endswith(b"\n"):
            os.ftruncate(file, size - (len(tail) - tail.rfind(b"\n") - 1))

    def _tail(self, file: int) -> bytes:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            return b""
        return os.pread(file, _TAIL, max(0, found.st_size - _TAIL))


def _is_ours(tail: bytes) -> bool:
    """Whether the last whole line and what follows it begin as records do; a power cut may leave zeros at the end."""
    whole, rest = (b"\n\n" + tail.rstrip(b"\0")).rsplit(b"\n", 2)[1:]
    return all(_BEGIN.startswith(line[: len(_BEGIN)]) for line in (whole, rest))


def _is_same(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except OSError:
        return False
