"""Seal the base of the audit log: where it begins, after older records were archived and deleted.

Attack: whoever writes the database deletes the oldest records, and moves the base over them. The seal is a MAC under a
key that the database does not have, and only for bases whose records are in an archive. An older base is no use: the
records that follow it are missing.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from affiant.storage.entries import NO_BASE, AuditBase

# Attack: a link is forged in the database, so that the server's next link is the seal of a base. A key of its own; and
# the input that derives it is shorter than any of the chain.
_PURPOSE = b"audit base"
_NUMBER_BYTES = 8


def build_base(number: int, link: bytes, *, at: int, key: bytes) -> AuditBase:
    """The base after this record, sealed under the audit key."""
    return AuditBase(number, link, at, _seal(number, link, at, key))


def is_sealed(base: AuditBase, key: bytes) -> bool:
    """Whether the base is NO_BASE, or was sealed under this audit key."""
    if base == NO_BASE:
        return True
    fits = base.number > 0 and base.at >= 0 and len(base.link) == sha256().digest_size
    return fits and hmac.compare_digest(base.seal, _seal(base.number, base.link, base.at, key))


def _seal(number: int, link: bytes, at: int, key: bytes) -> bytes:
    subject = number.to_bytes(_NUMBER_BYTES, "big") + at.to_bytes(_NUMBER_BYTES, "big") + link
    return hmac.digest(hmac.digest(key, _PURPOSE, sha256), subject, sha256)
