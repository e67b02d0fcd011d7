"""Read distinguished names from text and certificates, and compare them (RFC 4517 section 4.2.15).

Two names match if they have the same relative names in the same order. A relative name is a set of attributes. Two
attributes match if they have the same type, and the same value under the matching rule of that type. Directory strings
are compared without case and without insignificant spaces (RFC 4518), all other values byte for byte.

RFC 4518 drops some characters and takes compatible ones for each other: a full-width B for a B. Here no character is
dropped, and no other character equals an ASCII one, so that no name matches one that only looks like it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

# The types that are compared without case (RFC 4519, X.520, RFC 2985, CA/Browser Forum EV), each with its names. The
# first name is used in messages: that of RFC 4514 section 3 if there is one. Java and .NET have their own names.
_TYPES = {
    "2.5.4.3": ("CN", "commonName"),
    "2.5.4.4": ("SN", "surname"),
    "2.5.4.5": ("serialNumber",),
    "2.5.4.6": ("C", "countryName"),
    "2.5.4.7": ("L", "localityName"),
    "2.5.4.8": ("ST", "S", "stateOrProvinceName"),
    "2.5.4.9": ("STREET", "streetAddress"),
    "2.5.4.10": ("O", "organizationName"),
    "2.5.4.11": ("OU", "organizationalUnitName"),
    "2.5.4.12": ("title", "T"),
    "2.5.4.13": ("description",),
    "2.5.4.15": ("businessCategory",),
    "2.5.4.17": ("postalCode",),
    "2.5.4.41": ("name",),
    "2.5.4.42": ("GN", "G", "givenName"),
    "2.5.4.43": ("initials",),
    "2.5.4.44": ("generationQualifier", "generation"),
    "2.5.4.46": ("dnQualifier", "DNQ"),
    "2.5.4.51": ("houseIdentifier",),
    "2.5.4.65": ("pseudonym",),
    "2.5.4.97": ("organizationIdentifier",),
    "0.9.2342.19200300.100.1.1": ("UID", "userId"),
    "0.9.2342.19200300.100.1.25": ("DC", "domainComponent"),
    "1.2.840.113549.1.9.1": ("emailAddress", "E", "email"),
    "1.2.840.113549.1.9.2": ("unstructuredName",),
    "1.2.840.113549.1.9.8": ("unstructuredAddress",),
    "1.3.6.1.4.1.311.60.2.1.1": ("jurisdictionL", "jurisdictionLocalityName"),
    "1.3.6.1.4.1.311.60.2.1.2": ("jurisdictionST", "jurisdictionStateOrProvinceName"),
    "1.3.6.1.4.1.311.60.2.1.3": ("jurisdictionC", "jurisdictionCountryName"),
}
_OIDS = {name.lower(): oid for oid, names in _TYPES.items() for name in names}
_MAX_VALUE = 1024  # characters
_COMMON_NAME, _COUNTRY = "2.5.4.3", "2.5.4.6"

# The encodings of the string types of ASN.1. In TeletexString only ASCII is certain.
_CHARSETS = {
    b"\x0c": "utf-8",
    b"\x12": "ascii",  # NumericString
    b"\x13": "ascii",  # PrintableString
    b"\x14": "ascii",  # TeletexString
    b"\x16": "ascii",  # IA5String
    b"\x1a": "ascii",  # VisibleString
    b"\x1c": "utf-32-be",  # UniversalString
    b"\x1e": "utf-16-be",  # BMPString
}

_TYPE = re.compile(r" *(?:([A-Za-z][A-Za-z0-9-]*)|(?:OID\.)?([0-9]+(?:\.[0-9]+)+))( *)=( *)", re.IGNORECASE)
_HEX = re.compile(r"#((?:[0-9A-Fa-f]{2})+)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PLAIN = re.compile(r'(?:[^"+,;<>\\ ]| (?! *(?:[+,]|$))|\\.)*', re.DOTALL)  # without the spaces at its end
_END = re.compile(r" *(?:([+,])( *)|$)")
_ESCAPE = re.compile(r'((?:\\[0-9A-Fa-f]{2})+)|\\([ "#+,;<=>\\])|\\')
_SPECIAL = re.compile(r'["+,;<>\\]|^[ #]| $')


@dataclass(frozen=True, slots=True)
class Attribute:
    oid: str  # the type
    text: str | None  # the value, if it is a string
    der: bytes | None  # the value in DER, if that is known

    def key(self, *, exact: frozenset[str]) -> str:
        """Return the value in the form for comparison; of the `exact` types, its DER."""
        if self.text is not None and self.oid in _TYPES:
            return f"{self.oid}={_prepare(self.text)}"
        if self.der is not None and (self.oid in exact or self.text is None):
            return f"{self.oid}#{self.der.hex()}"
        _check_characters(self.text or "")
        return f"{self.oid}={self.text}"

    def __str__(self) -> str:
        name = _TYPES.get(self.oid, (self.oid,))[0]
        if self.der is not None and (self.oid not in _TYPES or self.text is None or not self.text.isprintable()):
            return f"{name}=#{self.der.hex()}"
        return f"{name}={_escape(self.text or '')}"


@dataclass(frozen=True, slots=True)
class Name:
    """A distinguished name, with its relative names in the order of the certificate."""

    rdns: tuple[tuple[Attribute, ...], ...]

    @property
    def exact(self) -> frozenset[str]:
        """The types whose value must be the same DER."""
        return frozenset(a.oid for rdn in self.rdns for a in rdn if a.der is not None and a.oid not in _TYPES)

    def key(self, *, exact: frozenset[str]) -> list[list[str]]:
        """Return the name in the form for comparison."""
        return [sorted(attribute.key(exact=exact) for attribute in rdn) for rdn in self.rdns]

    def matches(self, registered: Name) -> bool:
        """Whether this registered name matches the name of a certificate."""
        exact = registered.exact
        try:
            return bool(registered.rdns) and self.key(exact=exact) == registered.key(exact=exact)
        except ValueError:
            return False

    def __str__(self) -> str:
        """Return the name in the form of RFC 4514: the last relative name first."""
        return ",".join("+".join(map(str, rdn)) for rdn in reversed(self.rdns))


def parse(text: str) -> Name:
    """Read a name in the form of RFC 4514, openssl or Java.

    RFC 4514 and Java begin with the last relative name of the certificate, and `openssl x509 -subject`, which has a
    space on both sides of each equals sign, with the first. What can be read in both orders is refused.
    """
    if text.startswith("/"):
        raise ValueError(_slashes(text))
    found = list(_read(text))
    is_spaced = {attribute.is_spaced for attribute in found}
    rdns: list[list[Attribute]] = [[]]
    for attribute in found:
        rdns[-1].append(attribute.read)
        if attribute.end == ",":
            rdns.append([])
    if len(is_spaced) > 1:
        raise ValueError("write all equals signs with spaces around them, as openssl does, or none")
    as_written = Name(tuple(map(tuple, rdns)))
    reverse = Name(as_written.rdns[::-1])
    as_written.key(exact=as_written.exact)  # raises if a value cannot be compared
    is_from_openssl = is_spaced == {True}
    if is_from_openssl or any(attribute.is_apart for attribute in found):
        _check_order(as_written if is_from_openssl else reverse, written=as_written)
    return as_written if is_from_openssl else reverse


def parse_certificate(certificate: x509.Certificate) -> Name:
    """Read the subject of a certificate."""
    try:
        content = asn1.decode_der(_Certified, certificate.tbs_certificate_bytes)
    except ValueError as error:
        raise ValueError("the subject cannot be read") from error
    return Name(
        tuple(tuple(_attribute(a.type.dotted_string, a.value) for a in rdn.as_list()) for rdn in content.subject)
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """An attribute, the spaces around its equals sign, and the separator after it."""

    read: Attribute
    is_spaced: bool
    end: str
    is_apart: bool


def _read(text: str) -> Iterator[_Read]:
    end = None
    at = 0
    while end != "":
        found = _TYPE.match(text, at)
        if found is None:
            raise ValueError(f"an attribute such as CN=billing is expected at {text[at : at + 30]!r}")
        name, dotted, before, after = found.groups()
        attribute, at = _value(_oid(name, dotted), text, found.end())
        follows = _END.match(text, at)
        if follows is None:
            raise ValueError(f"write a backslash before {text[at : at + 1]!r} if it is part of a value")
        end, at = follows[1] or "", follows.end()
        yield _Read(attribute, bool(before and after), end, bool(follows[2]))


def _oid(name: str | None, dotted: str) -> str:
    if name is None:
        try:
            return ObjectIdentifier(dotted).dotted_string
        except ValueError:
            raise ValueError(f"{dotted} is no object identifier") from None
    if (oid := _OIDS.get(name.lower())) is None:
        raise ValueError(f"{name} is no attribute type that affiant knows: write its object identifier, as 2.5.4.3=...")
    return oid


def _value(oid: str, text: str, at: int) -> tuple[Attribute, int]:
    if found := _HEX.match(text, at):
        try:
            return _attribute(oid, asn1.decode_der(asn1.TLV, bytes.fromhex(found[1]))), found.end()
        except ValueError:
            raise ValueError("a value in hexadecimal must be DER, such as #0c0162") from None
    if text.startswith("#", at):
        raise ValueError("# begins a value in hexadecimal, such as #0c0162: write \\# for the character")
    found = _QUOTED.match(text, at) or _PLAIN.match(text, at)
    if found is None or not found[found.lastindex or 0].strip():
        raise ValueError("an attribute has no value")
    return Attribute(oid, _unescape(found[found.lastindex or 0]), None), found.end()


def _unescape(text: str) -> str:
    def plain(found: re.Match[str]) -> str:
        if found[1]:
            return bytes.fromhex(found[1].replace("\\", "")).decode("utf-8")
        if not found[2]:
            raise ValueError("a backslash is followed by a special character, or by two hexadecimal digits of UTF-8")
        return found[2]

    try:
        return _ESCAPE.sub(plain, text)
    except UnicodeDecodeError:
        raise ValueError("hexadecimal digits after a backslash must be UTF-8") from None


def _escape(text: str) -> str:
    """Escape a value (RFC 4514 section 2.4); unprintable characters become hexadecimal."""
    said = _SPECIAL.sub(lambda found: "\\" + found[0], text)
    return "".join(c if c.isprintable() else "".join(f"\\{b:02X}" for b in c.encode("utf-8", "replace")) for c in said)


@asn1.sequence
class _Typed:
    type: ObjectIdentifier
    value: asn1.TLV


@asn1.sequence
class _Certified:
    """TBSCertificate (RFC 5280 section 4.1), of which only the subject is read."""

    version: Annotated[int, asn1.Explicit(0), asn1.Default(0)]
    serial_number: int
    signature: asn1.TLV
    issuer: asn1.TLV
    validity: asn1.TLV
    subject: list[asn1.SetOf[_Typed]]
    public_key: asn1.TLV
    issuer_id: Annotated[asn1.BitString | None, asn1.Implicit(1)]
    subject_id: Annotated[asn1.BitString | None, asn1.Implicit(2)]
    extensions: Annotated[list[asn1.TLV] | None, asn1.Explicit(3)]


def _attribute(oid: str, value: Any) -> Attribute:
    content, charset = bytes(value.data), _CHARSETS.get(value.tag_bytes)
    try:
        text = content.decode(charset) if charset else None
    except UnicodeDecodeError:
        text = None
    return Attribute(oid, text, asn1.encode_der(value))


def _prepare(text: str) -> str:
    """Prepare a directory string for comparison (RFC 4518), so that no non-ASCII character becomes an ASCII one."""
    _check_characters(text)
    spaced = "".join(" " if unicodedata.category(c)[0] == "Z" else c for c in unicodedata.normalize("NFC", text))
    folded = unicodedata.normalize("NFC", "".join(map(_fold, spaced)))
    if not (words := folded.split(" ")) or not (prepared := " ".join(filter(None, words))):
        raise ValueError("an attribute has no value")
    return prepared


def _fold(character: str) -> str:
    folded = character.casefold()
    return character if not character.isascii() and any(c.isascii() for c in folded) else folded


def _check_characters(text: str) -> None:
    if len(text) > _MAX_VALUE:  # Attack: to normalise a long text of combining characters takes quadratic time
        raise ValueError("a value is too long")
    for c in text:
        # Attack: other readers end the text at a NUL; invisible or unassigned characters make look-alikes.
        if unicodedata.category(c)[0] == "C" or c == "\ufffd":
            raise ValueError(f"a value has the character U+{ord(c):04X}, which no name may have")
        if not c.isascii() and unicodedata.normalize("NFC", c).isascii():
            raise ValueError(f"a value has the character U+{ord(c):04X}, which is taken for an ASCII one")


def _check_order(name: Name, *, written: Name) -> None:
    """Reject a name that may be in reverse order."""
    if len(name.rdns) == 1:
        return
    first, last = ({a.oid for a in rdn} for rdn in (name.rdns[0], name.rdns[-1]))
    is_usual = _COUNTRY in first or _COMMON_NAME in last
    if not is_usual and (_COUNTRY in last or _COMMON_NAME in first):
        other = written if name is not written else Name(written.rdns[::-1])
        raise ValueError(
            f"the order of this name is not certain: write {other} if the certificate begins with"
            f" {_shown(other.rdns[0])}, or {name} if it begins with {_shown(name.rdns[0])} (RFC 4514, no spaces)"
        )


def _shown(rdn: Iterable[Attribute]) -> str:
    return "+".join(map(str, rdn))


def _slashes(text: str) -> str:
    why = "a name between slashes cannot be read with certainty, since values may have slashes"
    try:
        rdns = tuple((next(_read(part)).read,) for part in text[1:].split("/"))
    except ValueError:
        return why
    return f"{why}: write {Name(rdns)} if that is what it means"
