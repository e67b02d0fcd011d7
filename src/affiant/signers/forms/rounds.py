"""Find out how long the password of an encrypted key will be hashed, before a library begins and cannot be stopped."""

from __future__ import annotations

import re
from collections.abc import Iterator

from affiant.errors import ConfigError

MAX_ROUNDS = 10_000_000  # 4 s; tools write at most 1,000,000
_MAX_BCRYPT = 1_000  # each costs 50 ms; ssh-keygen writes 24
_LENGTH = rb"(?:[\x00-\x7f]|\x81.|\x82..)"  # of DER
# RFC 8018 appendix A, RFC 7292 appendix C, RFC 7914 section 7: the identifier, then SEQUENCE { OCTET STRING, INTEGER }.
_KDF = re.compile(
    rb"\x06(?:\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05.|\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01."
    rb"|\x09\x2b\x06\x01\x04\x01\xda\x47\x04\x0b)\x30" + _LENGTH + rb"\x04(" + _LENGTH + rb")",
    re.DOTALL,
)
# RFC 7292 section 4: a PFX ends with the salt and the rounds of its MAC.
_MAC = re.compile(rb"\x04([\x01-\x40])(.{1,64})\x02([\x01-\x10])(.{1,16})", re.DOTALL)
_MAC_LONGEST = 2 + 64 + 2 + 16
_BCRYPT = re.compile(rb"\x00\x00\x00\x06bcrypt.{4}\x00\x00\x00(.)", re.DOTALL)  # PROTOCOL.key of OpenSSH


def check(data: bytes) -> None:
    """Raise ConfigError if opening this key, in DER or the form of OpenSSH, takes longer than anyone waits."""
    found = _BCRYPT.search(data)
    after = found.end() + found[1][0] if found is not None else 0
    bcrypt = int.from_bytes(data[after : after + 4]) if found is not None else 0
    if bcrypt > _MAX_BCRYPT or max(_rounds(data), default=0) > MAX_ROUNDS:
        raise ConfigError(
            "the private key is encrypted with so many rounds that opening it would take minutes: encrypt it again with"
            "  openssl pkcs8 -topk8 -in FILE -out key.pem"
        )


def _rounds(data: bytes) -> Iterator[int]:
    for found in _KDF.finditer(data):
        length = found[1]
        at = found.end() + (length[0] if len(length) == 1 else int.from_bytes(length[1:]))
        if data[at : at + 1] == b"\x02":
            yield int.from_bytes(data[at + 2 : at + 2 + data[at + 1]])
    for begin in range(max(0, len(data) - _MAC_LONGEST), len(data)):
        mac = _MAC.fullmatch(data, begin)
        if mac is not None and (len(mac[2]), len(mac[4])) == (mac[1][0], mac[3][0]):
            yield int.from_bytes(mac[4])
