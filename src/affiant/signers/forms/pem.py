"""Parse private keys in PEM: PKCS #8, PKCS #1, SEC 1, the form of OpenSSH, and PKCS #12; also encrypted ones.

The message about another form has the command that converts it. No message repeats the text.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from textwrap import fill
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from affiant.errors import ConfigError
from affiant.jose import jwk, keys
from affiant.jose.keys import PrivateKey
from affiant.signers.forms import rounds
from affiant.signers.forms.spelling import BEGIN, OPENSSH, PKCS12, find_blocks, name_other

# Returns the password of an encrypted key, or None. It is called only if the key turns out to be encrypted.
GetPassword = Callable[[], bytes | None]

# RFC 1421 section 4.6.1.1, as OpenSSL writes it before the base64 of a traditional key that is encrypted.
_DEK = re.compile(r"\s*Proc-Type:\s*4,ENCRYPTED\s+DEK-Info:\s*([A-Z0-9-]+,[0-9A-Fa-f]+)\s(.*)", re.DOTALL)
_ENCRYPTED = (
    "the private key is encrypted: give its password as  key_password=, in AFFIANT_KEY_PASSWORD, or the path of a file"
    " with it in AFFIANT_KEY_PASSWORD_FILE"
)
_NOT_OPENED = "the password does not open the private key: it is another, or the key is damaged"
_OPENSSH_ENCRYPTED = (
    "the OpenSSH key has a passphrase, or cannot be read: take it off a copy with"
    "  cp FILE key && ssh-keygen -p -N '' -f key"
)
_UNSUPPORTED = (
    "the private key is encrypted in a way that is not supported: encrypt it again with"
    "  openssl pkcs8 -topk8 -in FILE -out key.pem"
)


def parse_pem(text: str, *, alg: str | None = None, kid: str | None = None, password: GetPassword) -> PrivateKey:
    """Return the one private key in this text, or raise ConfigError."""
    blocks = find_blocks(text)
    private = [(label, body) for label, body in blocks if label.endswith("PRIVATE KEY") or label == PKCS12]
    if len(private) > 1:
        raise ConfigError(f"there are {len(private)} private keys in the PEM: leave the one that signs")
    if not private:
        raise ConfigError(_why_none([label for label, _ in blocks], text))
    ((label, body),) = private
    with suppress(ValueError):  # damaged: what opens it says so
        rounds.check(b64decode("".join(body.split()), validate=True))
    if label == PKCS12:
        key = _open_pkcs12(body, password)
    elif label == OPENSSH:
        key = _open_openssh(_armour(label, body), password)
    else:
        key = _open(_armour(label, body), password)
    return keys.parse_private_jwk({**jwk.build(key), **({"kid": kid} if kid else {})}, alg=alg)


def parse_key_object(key: Any, *, alg: str | None = None) -> PrivateKey:
    """Return the key that a private key of the package cryptography has."""
    pkcs8, bare = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    data: bytes = key.private_bytes(serialization.Encoding.PEM, pkcs8, bare)
    return keys.parse_private_pem(data, alg=alg)


def _open(data: bytes, password: GetPassword) -> Any:
    try:
        return serialization.load_pem_private_key(data, password=None)
    except TypeError:
        given = _required(password)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError("this is not a private key in PEM, or of a type that is not supported") from None
    try:
        return serialization.load_pem_private_key(data, password=given)
    except UnsupportedAlgorithm:
        raise ConfigError(_UNSUPPORTED) from None
    except (ValueError, TypeError):
        raise ConfigError(_NOT_OPENED) from None


def _open_openssh(data: bytes, password: GetPassword) -> Any:
    # Users cannot convert it: ssh-keygen 9.2 of Debian 12 writes Ed25519 keys in no other form.
    try:
        return serialization.load_ssh_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        given = password()
    try:
        return serialization.load_ssh_private_key(data, password=given)
    except (TypeError, UnsupportedAlgorithm):  # no password, or the package bcrypt is not installed
        raise ConfigError(_OPENSSH_ENCRYPTED) from None
    except ValueError:
        raise ConfigError(_NOT_OPENED if given else _OPENSSH_ENCRYPTED) from None


def _open_pkcs12(body: str, password: GetPassword) -> Any:
    try:
        data = b64decode("".join(body.split()), validate=True)
    except ValueError:
        raise ConfigError("this PKCS #12 file is damaged") from None
    try:
        key = _load_pkcs12(data, None)
    except ValueError:  # it does not say which: damaged, or with a password
        try:
            key = _load_pkcs12(data, _required(password))
        except (ValueError, TypeError):  # TypeError: the password is not UTF-8
            raise ConfigError(_NOT_OPENED) from None
    if key is None:
        raise ConfigError("this PKCS #12 file has certificates and no private key: export it with its key")
    return key


def _load_pkcs12(data: bytes, password: bytes | None) -> Any:
    try:
        return pkcs12.load_key_and_certificates(data, password)[0]
    except UnsupportedAlgorithm:
        raise ConfigError(
            "this PKCS #12 file is encrypted in a way that is not supported: export it again with"
            "  openssl pkcs12 -export -keypbe AES-256-CBC -certpbe AES-256-CBC -macalg SHA256"
        ) from None


def _required(password: GetPassword) -> bytes:
    if (given := password()) is None:
        raise ConfigError(_ENCRYPTED)
    return given


def _armour(label: str, body: str) -> bytes:
    """Return the PEM with correct line ends."""
    found = _DEK.fullmatch(body)
    headers = f"Proc-Type: 4,ENCRYPTED\nDEK-Info: {found[1]}\n\n" if found else ""
    lines = fill("".join((found[2] if found else body).split()), 64, break_on_hyphens=False)
    return f"{BEGIN}{label}-----\n{headers}{lines}\n-----END {label}-----\n".encode("utf-8", "replace")


def _why_none(labels: list[str], text: str) -> str:
    if labels:
        return f"this is no private key but PEM of: {', '.join(dict.fromkeys(labels))}"
    if BEGIN in text:
        return "this PEM was cut off: its line  -----END ...-----  is missing"
    if (other := name_other(text)) is not None:
        return f"this is {other}"
    return "this is not a private key in PEM, and no JWK, JWK Set or PKCS #12 either"
