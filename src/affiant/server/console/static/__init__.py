"""The files of the console: its own modules and styles, with a tag each. They hold nothing secret."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib import resources

from affiant.jose import base64url
from affiant.server.request import http
from affiant.server.request.http import Answer

PATH = "/static/"
_TYPES = {"js": b"text/javascript; charset=utf-8", "css": b"text/css; charset=utf-8", "svg": b"image/svg+xml"}
# A browser asks each time whether it has the file of this version, whose path has no version.
HEADERS = [(b"cache-control", b"no-cache"), (b"x-content-type-options", b"nosniff")]


def find(scope: http.Scope, path: str) -> Answer | None:
    """Return the file at this path; None if the path names none."""
    name = path.removeprefix(PATH)
    if name == path or scope["method"] not in ("GET", "HEAD"):
        return None
    body = _files().get(name)
    if body is None:
        return None
    etag = _tag(name)
    headers = [(b"etag", f'"{etag}"'.encode())]
    if f'"{etag}"'.encode() in b",".join(http.header(scope, b"if-none-match")):
        return Answer(304, {}, headers, body=b"", media_type=_TYPES[name.rpartition(".")[2]])
    return Answer(200, {}, headers, body=body, media_type=_TYPES[name.rpartition(".")[2]])


@cache
def _tag(name: str) -> str:
    """Return a text that changes with the file."""
    return base64url.encode(sha256(_files()[name]).digest()[:9])


@cache
def _files() -> dict[str, bytes]:
    folder = resources.files(__package__ or __name__)
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.name.rpartition(".")[2] in _TYPES}
