"""The file of archived audit records: JSON Lines, compressed with gzip, signed at the end.

The first line names the server and the first record; each further line is a record as in an export, with its links; the
last line has a JWS over the SHA-256 of all lines before it. Whoever has the public key can verify the file without the
master key; whoever has the master key, each link too. The key is in the file: what shows that it is the server's is the
record of the archive in the log, a list of thumbprints kept elsewhere, or the master key.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from affiant.errors import Error
from affiant.jose import base64url, compact, keys
from affiant.jose.keys import PublicKey
from affiant.storage.entries import AuditRow
from affiant.storage.history.audit_chain import Broken, Damage, build_line, parse_line
from affiant.system.values import Value

TYP = "affiant-audit-archive+jwt"
VERSION = 1
MAGIC = b"\x1f\x8b"  # of gzip
SUFFIX = ".jsonl.gz"
_DIGITS = 15
_MAX_LINE = 1 << 24  # bytes: a record has a client's keys at most
_MAX_JWS = 32_768
_END = b'{"end":'
_TRACE = 12


class Header(Value, frozen=True, forbid_unknown_fields=True):
    """The first line."""

    affiant_audit_archive: int  # VERSION
    issuer: str
    first: int
    previous: str  # the link before the first record


class End(Value, frozen=True):
    """The signed members: numbers and links of the first and the last record, instants in epoch seconds."""

    iss: str
    iat: int
    first: int
    last: int
    count: int
    previous: str  # the link before the first
    link: str  # of the last
    since: float
    until: float
    sha256: str  # of all lines before, not compressed, hexadecimal
    jwk: dict[str, Any]  # the public key that signed


class _EndLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    end: str


class _At(msgspec.Struct):
    at: float = 0.0


class Place(NamedTuple):
    """A record by its number and link."""

    number: int
    link: bytes


def file_name(first: int, last: int) -> str:
    """The name of an archive: names sort as their numbers do."""
    return f"audit-{first:0{_DIGITS}d}-{last:0{_DIGITS}d}{SUFFIX}"


def trace_of(digest: bytes) -> str:
    """The trace id of an archive's own audit record, from the SHA-256 of its file: a second one is never written."""
    return base64url.encode(digest)[:_TRACE]


def instant_of(row: AuditRow) -> float:
    """The time of a record, in epoch seconds; 0 if it has none."""
    try:
        return msgspec.json.decode(row.record, type=_At).at
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0.0


class Lines(Protocol):
    """A source of the bytes of an archive, such as an open file."""

    def readline(self, size: int = -1, /) -> bytes: ...

    def read(self, size: int = -1, /) -> bytes: ...


class Writing:
    """Makes the lines of an archive, in their order."""

    def __init__(self, issuer: str, after: Place) -> None:
        self._issuer = issuer
        self._after = after
        self.last: Place = after  # record
        self._since = 0.0
        self.until: float = 0.0
        self._sum = sha256()

    @property
    def count(self) -> int:
        """How many records it has."""
        return self.last.number - self._after.number

    def header(self) -> bytes:
        """The first line."""
        header = Header(VERSION, self._issuer, self._after.number + 1, self._after.link.hex())
        return self._line(msgspec.json.encode(header))

    def add(self, row: AuditRow) -> bytes:
        """The line of the next record; the caller has verified that it is the next."""
        self.until = instant_of(row)
        if not self.count:
            self._since = self.until
        line = self._line(build_line(row, self.last.link))
        self.last = Place(row.number, row.link)
        return line

    def end(self, now: int, jwk: dict[str, Any]) -> End:
        """The bytes that the key signs."""
        return End(
            iss=self._issuer,
            iat=now,
            first=self._after.number + 1,
            last=self.last.number,
            count=self.count,
            previous=self._after.link.hex(),
            link=self.last.link.hex(),
            since=self._since,
            until=self.until,
            sha256=self._sum.hexdigest(),
            jwk=jwk,
        )

    def _line(self, text: bytes) -> bytes:
        self._sum.update(text + b"\n")
        return text + b"\n"


def end_line(jws: str) -> bytes:
    """The last line."""
    return msgspec.json.encode(_EndLine(jws)) + b"\n"


class Reading:
    """Reads an archive, from any source, and checks all that needs no master key.

    Args:
        stream: the lines; not compressed.
        path: its name, for messages.

    Raises:
        Broken: it is no archive, or was changed. `rows` raises it too.
    """

    def __init__(self, stream: Lines, path: Path) -> None:
        self._stream = stream
        self._path = path
        self._sum = sha256()
        self.header: Header = self._header()
        self.end: tuple[End, PublicKey] | None = None  # what was signed, and by which key, once all rows were read

    def rows(self) -> Iterator[tuple[AuditRow, bytes]]:
        """Each record, and the link before it; after the last one `end` is verified."""
        number, link = self.header.first - 1, self.header.previous
        since = until = 0.0
        while not (line := self._take()).startswith(_END):
            try:
                row, previous = parse_line(line)
            except ValueError as error:
                raise self._broken(f"the line after record {number} is no record: {error}", number + 1) from None
            if row.number != number + 1 or previous.hex() != link:
                raise self._broken(f"record {row.number} does not follow record {number}", number + 1)
            self._sum.update(line)
            number, link, until = row.number, row.link.hex(), instant_of(row)
            since = until if number == self.header.first else since
            yield row, previous
        self._finish(line, number, link, (since, until))

    def _finish(self, line: bytes, number: int, link: str, times: tuple[float, float]) -> None:
        if self._read(self._stream.read, 1):
            raise self._broken("something follows its end", number + 1)
        end, key = self._verified(line, number)
        first = self.header.first
        found = (self.header.issuer, first, number, number - first + 1, self.header.previous, link, *times)
        said = (end.iss, end.first, end.last, end.count, end.previous, end.link, end.since, end.until)
        if found != said or end.sha256 != self._sum.hexdigest():
            raise self._broken("its records are not those that were signed", number)
        self.end = end, key

    def _verified(self, line: bytes, number: int) -> tuple[End, PublicKey]:
        try:
            jws = compact.parse(msgspec.json.decode(line, type=_EndLine).end, limit=_MAX_JWS)
            end = msgspec.convert(jws.claims, End)
            key = keys.parse_public_jwk(end.jwk)
            compact.verify(jws, key)
        except (ValueError, Error) as error:
            raise self._broken(f"its signature is not valid: {error}", number, Damage.SIGNATURE) from None
        if jws.header.get("typ") != TYP:
            raise self._broken("its signature is for something else", number, Damage.SIGNATURE)
        return end, key

    def _header(self) -> Header:
        line = self._take()
        try:
            header = msgspec.json.decode(line, type=Header)
        except (ValueError, UnicodeDecodeError) as error:
            raise self._broken(f"its first line is not that of an archive: {error}", 0) from None
        if header.affiant_audit_archive != VERSION:
            raise self._broken(f"it has version {header.affiant_audit_archive}, which is not known here", 0)
        self._sum.update(line)
        return header

    def _take(self) -> bytes:
        line = self._read(self._stream.readline, _MAX_LINE)
        if not line.endswith(b"\n"):
            raise self._broken("it was cut off", 0, Damage.CUT)
        return line

    def _read(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            return read(size)
        except EOFError:
            raise self._broken("it was cut off", 0, Damage.CUT) from None
        except (OSError, zlib.error) as error:
            raise self._broken(f"it cannot be read: {error}", 0) from None

    def _broken(self, what: str, number: int, damage: Damage = Damage.EDITED) -> Broken:
        return Broken(f"{self._path}: {what}", damage=damage, number=max(number, 0))
