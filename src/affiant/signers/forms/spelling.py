"""Recognise a key in a text as users paste it: into a variable, a secret store, or the file of another tool.

Unambiguous alterations are undone: escaped line ends, quotation marks, text around the PEM, and base64 of the whole.
Loads no cryptography: a kept token is printed without it.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode

BEGIN = "-----BEGIN "
PKCS12, OPENSSH = "PKCS12", "OPENSSH PRIVATE KEY"
_LEAST_BASE64 = 64  # characters: less is no key
_LONGEST_NAME = 1024  # characters of a path that is shown
_QUOTES = "\"'`"
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_BLOB = re.compile(r"[A-Za-z0-9+_=-][A-Za-z0-9+/_=-]{39,}")  # and not /run/secrets/a-file-with-a-long-name
_DER_SEQUENCE = 0x30
_DER = {  # by how the content of the SEQUENCE begins: its version, or a SEQUENCE with an object identifier
    rb"\x02\x01\x03\x30": PKCS12,  # RFC 7292 section 4
    rb"\x02\x01[\x00\x01]\x30": "PRIVATE KEY",  # RFC 5958 section 2
    rb"\x02\x01\x00\x02": "RSA PRIVATE KEY",  # RFC 8017 appendix A.1.2
    rb"\x02\x01\x01\x04": "EC PRIVATE KEY",  # RFC 5915 section 3
    rb"\x30.\x06.\x2a\x86\x48\x86\xf7\x0d\x01(?:\x05|\x0c)": "ENCRYPTED PRIVATE KEY",  # RFC 8018 appendix A
    rb"\x30.\x06": "PUBLIC KEY",  # RFC 5280 section 4.1
    rb"\x30\x82..\xa0\x03\x02\x01": "CERTIFICATE",
    rb"\x30\x81.\xa0\x03\x02\x01": "CERTIFICATE",
}
_JAVA = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")  # JKS and JCEKS
_JAVA_TEXT = "\N{REPLACEMENT CHARACTER}Java keystore"  # no path
# Texts that users give instead of a key, by their beginning, with the remedy. No path begins so.
_OTHERS = {
    r"ey[A-Za-z0-9_-]+\.ey[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$": "a JWT, such as a token or an assertion",
    r"(sk-)?(ssh|ecdsa)-[a-z0-9@.-]+ AAAA": (
        "the public key of OpenSSH: give the private one, which is in the file without .pub"
    ),
    r"PuTTY-User-Key-File-\d+:": "a key of PuTTY: convert it with  puttygen FILE -O private-openssh -o key",
    r"AGE-SECRET-KEY-1": "a key of age, which encrypts files and signs nothing",
    _JAVA_TEXT: "a keystore of Java: convert it with  keytool -importkeystore -srckeystore FILE -destkeystore key.p12",
    r"<RSAKeyValue>": "an RSA key in the XML of .NET: write it as PEM with  rsa.ExportPkcs8PrivateKeyPem()",
}


def decode(data: bytes) -> str:
    """Return the text of a key file; DER and PKCS #12 become the text that PEM would have for them."""
    if (label := _der_label(data)) is not None:
        return f"{BEGIN}{label}-----\n{b64encode(data).decode('ascii')}\n-----END {label}-----"
    if data.startswith(_JAVA):
        return _JAVA_TEXT
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # as PowerShell writes it
        return data.decode("utf-16", "replace")
    return data.decode("utf-8", "replace")


def unwrap(text: str) -> str:
    """Remove white space and quotation marks around the text, and base64 around a key or JSON."""
    text = text.strip().removeprefix("\ufeff").strip()
    while len(text) > 1 and text[0] in _QUOTES and text[-1] == text[0]:
        text = (_of_json(text) or text[1:-1]).strip()
    return _of_base64(text) or text


def is_key(text: str) -> bool:
    """Whether this unwrapped text is a key, JSON or some other credential, and not the path of a file."""
    return text.startswith("{") or BEGIN in text or name_other(text) is not None


def may_be_key(text: str) -> bool:
    """Whether the name of a file may be a key or secret by mistake; only if there is such a file it may be shown."""
    return len(text) > _LONGEST_NAME or is_key(unwrap(text)) or _BLOB.fullmatch(text.strip()) is not None


def name_other(text: str) -> str | None:
    """Return what this text is if it is known to be no private key in a form that is read."""
    return next((name for start, name in _OTHERS.items() if re.match(start, text)), None)


def find_blocks(text: str) -> list[tuple[str, str]]:
    """Return the label and the body of each PEM block in the text."""
    text = text.replace("\\r", "").replace("\\n", "\n")
    return [(label.strip(), body) for label, body in _BLOCK.findall(text)]


def _der_label(data: bytes) -> str | None:
    """Return the label that PEM would have for this DER, or None if it is nothing that has to do with a key."""
    if len(data) < 4 or data[0] != _DER_SEQUENCE:  # noqa: PLR2004 - shorter than its own header
        return None
    long = data[1] & 0x7F if data[1] & 0x80 else 0
    content = data[2 + long :]
    if len(content) != (int.from_bytes(data[2 : 2 + long]) if long else data[1]):
        return None
    return next((label for start, label in _DER.items() if re.match(start, content, re.DOTALL)), None)


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
    except ValueError:
        return None
    plain = decode(data).strip()
    return plain if is_key(plain) else None
