"""The keys in a file or in standard input: private or public, in every form that is read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affiant.cli.output import warn_left_out
from affiant.errors import ConfigError
from affiant.jose import jwk, keys
from affiant.jose.key_set import MAX_MEMBERS
from affiant.jose.keys import PrivateKey, PublicKey
from affiant.server.registry.credentials import given
from affiant.signers import opening, sources
from affiant.signers.forms import documents, spelling
from affiant.signers.password import Password
from affiant.signers.sources import VARIABLE
from affiant.system.files import read_private

STDIN = "-"
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Material:
    """One key."""

    public: PublicKey
    private: PrivateKey | None


def read(source: str, *, alg: str | None, kid: str | None, password: Password) -> list[Material]:
    """Return every key of a file, of a JWK Set those with this kid; or the key that is named in a KMS or device.

    Raises:
        ConfigError: there is none, or it cannot be read.
        LocalError: the key elsewhere cannot be used.
    """
    if opening.is_name(source):  # only the public part can leave its KMS or device
        return [Material(opening.open_signer(source, alg=alg, kid=kid).public(), None)]
    scheme, place = sources.split(source)
    if scheme == "file":
        source, scheme = place, ""
    found = _read(source, alg, kid, password)
    is_file = source != STDIN and not scheme
    if is_file and any(one.private is not None for one in found):  # rejects a file that others can read
        read_private(Path(source), what="the private key", variable=VARIABLE)
    return found


def _read(source: str, alg: str | None, kid: str | None, password: Password) -> list[Material]:
    text = spelling.unwrap(spelling.decode(_bytes(source)))
    members = documents.parse_json(text) if text.startswith("{") else None
    if members is not None and "keys" in members:
        return list(_of_set(members["keys"], source, alg, kid))
    if members is not None and "affiant" in members and isinstance(members.get("key"), dict):
        members = members["key"]  # of a credentials file
    if (public := _find_public(text, members, alg)) is not None:
        return [Material(public, None)]
    if members is not None:
        return [_private(documents.parse_document(members, alg=alg, password=password), kid)]
    return [_private(documents.parse_private_key(text, alg=alg, password=password), kid)]


def read_one(source: str, *, alg: str | None, kid: str | None, password: Password) -> Material:
    """Return the one key of a file."""
    found = read(source, alg=alg, kid=kid, password=password)
    if len(found) != 1:
        names = " ".join(one.public.kid for one in found)
        raise ConfigError(f"there are {len(found)} keys: choose one by --kid of {names}")
    return found[0]


def _bytes(source: str) -> bytes:
    if not source:
        raise ConfigError("the name of the key file is empty: is a variable not set?")
    if sources.split(source)[0] in sources.SOURCES:
        return sources.read(source).encode()
    try:
        if source == STDIN:
            data = sys.stdin.buffer.read(_MAX_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        # Attack: a key is given in place of its file. The message shows no name.
        why = error.strerror if isinstance(error, OSError) else "no name"
        raise ConfigError(f"the key file cannot be read ({why}): name a file, or  -  for standard input") from None
    if len(data) > _MAX_BYTES:
        raise ConfigError("this is too long for a file with keys")
    return data


def _find_public(text: str, members: dict[str, Any] | None, alg: str | None) -> PublicKey | None:
    """Return the public key, or None where there is something else."""
    if members is not None:
        return None if "kty" not in members or jwk.PRIVATE_MEMBERS & members.keys() else keys.parse_public_jwk(members)
    labels = [label for label, _ in spelling.find_blocks(text)]
    if any("PRIVATE" in label or label == spelling.PKCS12 for label in labels):
        return None
    if "CERTIFICATE" in labels:
        return given.parse_certificate(text.encode(), "the file")
    return keys.parse_public_pem(text.encode(), alg=alg) if "PUBLIC KEY" in labels else None


def _of_set(members: Any, source: str, alg: str | None, kid: str | None) -> Iterator[Material]:
    if not isinstance(members, list) or len(members) > MAX_MEMBERS:
        raise ConfigError(f'this is not a JWK Set: "keys" must be an array of at most {MAX_MEMBERS} keys')
    left_out, found = list[str](), 0
    for number, member in enumerate(members, 1):
        try:
            one = _member(member, alg)
        except ConfigError as error:
            left_out.append(f"key {number}: {error}")
            continue
        if kid is None or one.public.kid == kid:
            found += 1
            yield one
    if not found:
        raise ConfigError("the JWK Set has no such key" if kid else "the JWK Set has no key that can be used")
    warn_left_out("standard input" if source == STDIN else source, left_out)


def _member(member: Any, alg: str | None) -> Material:
    if not isinstance(member, dict):
        raise ConfigError("not an object")
    if jwk.PRIVATE_MEMBERS & member.keys():
        return _private(keys.parse_private_jwk(member, alg=alg), None)
    return Material(keys.parse_public_jwk(member), None)


def _private(key: PrivateKey, kid: str | None) -> Material:
    if kid is not None:
        key = keys.parse_private_jwk({**key.to_jwk(), "kid": kid})
    return Material(key.public(), key)
