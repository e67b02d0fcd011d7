"""Unique names of requests and tokens. They are not secret; secret values come from `secrets` itself."""

from __future__ import annotations

import io
import os
from binascii import b2a_base64

_READ_BYTES = 4096
_PLAIN = bytes.maketrans(b"+/", b"Zz")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class _Random:
    """The system's random bytes, read in large pieces.

    Each system call releases the interpreter lock; under load it took 100 µs to get it back, twice for each token.
    """

    def __init__(self) -> None:
        self._read = io.BytesIO().read
        # Danger: without this, forked processes would make the same names.
        os.register_at_fork(after_in_child=self._refill)

    def _refill(self) -> None:
        self._read = io.BytesIO(os.urandom(_READ_BYTES)).read

    def take(self, size: int) -> bytes:
        data = self._read(size)
        while len(data) < size:
            self._refill()
            data = self._read(size)
        return data


_random = _Random()


def new_trace_id() -> str:
    """Return twelve letters and digits that name one request, for the caller and the audit log."""
    # No hyphens: it is typed into a shell, where a first hyphen begins an option.
    return b2a_base64(_random.take(9), newline=False).translate(_PLAIN).decode("ascii")


def new_token_id() -> str:
    """Return 128 random bits, the jti of a token (RFC 7519 section 4.1.7)."""
    return b2a_base64(_random.take(16), newline=False).translate(_URL_SAFE).rstrip(b"=").decode("ascii")
