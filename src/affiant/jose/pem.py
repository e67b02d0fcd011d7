"""Parse private keys as users paste them: into an environment variable, a secret store, or a file of another tool.

Unambiguous forms are accepted: escaped line ends, quotation marks, text around the PEM, base64 of the whole, and the
form of OpenSSH. The message about another form has the command that converts it. No message repeats the text.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from textwrap import fill
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from affiant.errors import ConfigError
from affiant.jose import jwk, keys
from affiant.jose.keys import PrivateKey

_LEAST_BASE64 = 64  # characters: less is no key
_QUOTES = "\"'`"
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_BEGIN = "-----BEGIN "
_DER_SEQUENCE = 0x30
_OPENSSH = "OPENSSH PRIVATE KEY"
_OPENSSH_ENCRYPTED = (
    "the OpenSSH key has a passphrase, or cannot be read: take it off a copy with"
    "  cp FILE key && ssh-keygen -p -N '' -f key"
)
_ENCRYPTED = (
    "the private key has a passphrase: give one without, made with  openssl pkey -in FILE -out key.pem  (mode 0600)"
)


def unwrap(text: str) -> str:
    """Remove white space and quotation marks around the text, and base64 around a key or JSON."""
    text = text.strip().removeprefix("\ufeff").strip()
    while len(text) > 1 and text[0] in _QUOTES and text[-1] == text[0]:
        text = (_of_json(text) or text[1:-1]).strip()
    return _of_base64(text) or text


def is_key(text: str) -> bool:
    """Whether this unwrapped text is a key or JSON, and not the path of a file."""
    return text.startswith("{") or _BEGIN in text


def parse_private_key(text: str, *, alg: str | None = None) -> PrivateKey:
    """Return the private key in this text, PEM or JWK, or raise ConfigError."""
    text = unwrap(text)
    if text.startswith("{"):
        return parse_document(_json(text), alg=alg)
    label, data = _pem(text)
    return _parse_openssh(data, alg) if label == _OPENSSH else keys.parse_private_pem(data, alg=alg)


def parse_key_object(key: Any, *, alg: str | None = None) -> PrivateKey:
    """Return the key that a private key of the package cryptography has."""
    pkcs8, bare = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    data: bytes = key.private_bytes(serialization.Encoding.PEM, pkcs8, bare)
    return keys.parse_private_pem(data, alg=alg)


def parse_document(members: dict[str, Any], *, alg: str | None = None) -> PrivateKey:
    """Return the private key in this JWK."""
    if members.get("type") == "service_account" and "private_key" in members:
        raise ConfigError(
            "this is the key file of a Google service account, whose PEM is in one of its members: take it out with"
            "  jq -r .private_key FILE > key.pem"
        )
    if "keys" in members:
        raise ConfigError(
            "this is a JWK Set, and a service signs with one key: take one out with  jq '.keys[0]' FILE > key.jwk.json"
        )
    if "affiant" in members:
        raise ConfigError("this is a credentials file, not a key alone: use  Service.from_credentials(PATH)")
    if members.get("kty") == "oct":
        raise ConfigError("this JWK is a shared secret (kty oct), not a private key: give its text as  secret=")
    if "kty" not in members:
        raise ConfigError("this JSON is no JWK: it has no kty")
    return keys.parse_private_jwk(members, alg=alg)


def _json(text: str) -> dict[str, Any]:
    try:
        members: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigError("the key begins like a JWK, but is not JSON") from None
    return members


def _of_json(text: str) -> str | None:
    """Return the string if the text is one in JSON; it may contain raw line ends."""
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, str) else None


def _of_base64(text: str) -> str | None:
    """Decode the text if it is base64 of a key or of JSON."""
    if len(text) < _LEAST_BASE64 or _BASE64.fullmatch(text) is None:
        return None
    try:
        data = b64decode("".join(text.split()), validate=True)
        if data[0] == _DER_SEQUENCE and data[1] & 0x80:  # a PEM without its first and last line
            return f"{_BEGIN}PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----"
        plain = data.decode("utf-8").strip()
    except (ValueError, IndexError):
        return None
    return plain if is_key(plain) else None


def _parse_openssh(data: bytes, alg: str | None) -> PrivateKey:
    # Users cannot convert it: ssh-keygen 9.2 of Debian 12 writes Ed25519 keys in no other form.
    try:
        key = serialization.load_ssh_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(_OPENSSH_ENCRYPTED) from None
    return keys.parse_private_jwk(jwk.build(key), alg=alg)


def _pem(text: str) -> tuple[str, bytes]:
    """Return the label and the PEM of the one private key among these blocks, with correct line ends."""
    text = text.replace("\\r", "").replace("\\n", "\n")
    blocks = [(label.strip(), body) for label, body in _BLOCK.findall(text)]
    private = [(label, body) for label, body in blocks if label.endswith("PRIVATE KEY")]
    if len(private) > 1:
        raise ConfigError(f"there are {len(private)} private keys in the PEM: leave the one that signs")
    if not private:
        raise ConfigError(_why_none([label for label, _ in blocks], text))
    ((label, body),) = private
    if label.startswith("ENCRYPTED") or "ENCRYPTED" in body:
        raise ConfigError(_ENCRYPTED)
    lines = fill("".join(body.split()), 64, break_on_hyphens=False)
    return label, f"{_BEGIN}{label}-----\n{lines}\n-----END {label}-----\n".encode()


def _why_none(labels: list[str], text: str) -> str:
    if labels:
        return f"this is no private key but PEM of: {', '.join(dict.fromkeys(labels))}"
    if _BEGIN in text:
        return "this PEM was cut off: its line  -----END ...-----  is missing"
    return "this is not a private key in PEM"
