"""What a client says of itself when it registers, and its rules (RFC 7591 section 2): pure, and no more than is listed.

A member that is not among MEMBERS is ignored, as section 2 demands: it is not kept, and not shown again.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from affiant.errors import ConfigError, Rejected
from affiant.jose.key_set import KeySet, LeftOut
from affiant.jose.keys import PublicKey
from affiant.oauth import jwks_uri, names
from affiant.oauth.binding.subject import SUBJECT_MEMBERS, check_subject
from affiant.oauth.parameters import authorization_details
from affiant.oauth.parameters import scope as scopes
from affiant.reasons import Reason
from affiant.values import Value

MAX_KID = 128  # bytes of UTF-8
MAX_TEXT = 200  # characters
MAX_VALUES = 16  # of an array
STATEMENT = "software_statement"
TOKEN, URL, CLIENT_ID = "registration_access_token", "registration_client_uri", "client_id"
SECRET, SECRET_END, ISSUED_AT = "client_secret", "client_secret_expires_at", "client_id_issued_at"
# Controls, formats (which turn the direction of a line or are not seen), surrogates, what nobody assigned, line ends.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
_WEB_PAGE = re.compile(r"https?://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:[/?#][!#-;=?-Z\[\]_a-z~]*)?")
_MAX_URL = 2000


class ClientMetadata(Value, frozen=True):
    """What a client wants to be registered with; each member holds by itself, and whether it may be so is not judged.

    Attributes:
        grant_types: empty where the server chooses.
        scope: None where the server chooses.
        tls_subject: the member of RFC 8705 section 2.1.2 that it names, and its value.
        described: what is only kept and shown again: client_uri, contacts, software_id, software_version and
            software_statement.
        left_out: members of the JWK Set that are not registered.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"described"})

    # RFC 7591 section 2: what it means to name no method.
    token_endpoint_auth_method: str = names.CLIENT_SECRET_BASIC
    token_endpoint_auth_signing_alg: str | None = None
    grant_types: tuple[str, ...] = ()
    scope: tuple[str, ...] | None = None
    jwks: tuple[PublicKey, ...] = ()
    jwks_uri: str | None = None
    client_name: str | None = None
    tls_subject: tuple[str, str] | None = None
    tls_client_certificate_bound_access_tokens: bool = False
    dpop_bound_access_tokens: bool = False
    authorization_details_types: tuple[str, ...] = ()
    described: dict[str, Any] = msgspec.field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()


def parse(members: dict[str, Any]) -> ClientMetadata:
    """Read a client's metadata.

    What is null or an empty array counts as absent (RFC 7592 section 2.2).
    """
    sent = {name: value for name, value in members.items() if value is not None and value != []}
    _refuse_what_is_not_for_machines(sent)
    found = {name: read(name, sent[name]) for name, read in _READERS.items() if name in sent}
    if "jwks" in found and "jwks_uri" in found:
        raise Rejected(Reason.REGISTRATION_METADATA, expected="jwks or jwks_uri, not both")
    subject = _subject(found, found.get("token_endpoint_auth_method"))
    described = {name: found.pop(name) for name in _DESCRIBED if name in found}
    given = found.pop("jwks", KeySet(()))
    return ClientMetadata(**found, jwks=given.keys, left_out=given.left_out, tls_subject=subject, described=described)


def check_new(members: dict[str, Any]) -> None:
    """Let a body pass that may be registered."""
    if SECRET in members:
        raise _unlike(SECRET, "left out: the server makes it")


def check_replacement(members: dict[str, Any], client_id: str) -> None:
    """Let a body pass that may take the place of this client's metadata (RFC 7592 section 2.2)."""
    if members.get(CLIENT_ID) != client_id:
        raise Rejected(Reason.REGISTRATION_METADATA, expected=f"{CLIENT_ID} to be that of the client")
    for name in (TOKEN, URL, SECRET_END, ISSUED_AT):
        if name in members:
            raise _unlike(name, "left out")


def check_text(text: str, *, longest: int = MAX_TEXT) -> str:
    """The text, when people can be shown it: not empty, not too long, and every character of it can be seen."""
    if not 1 <= len(text) <= longest:
        raise ValueError(f"1 to {longest} characters long")
    if any(unicodedata.category(character) in _UNSEEN for character in text):
        raise ValueError("without controls and other characters that cannot be seen")
    return text


def _refuse_what_is_not_for_machines(sent: dict[str, Any]) -> None:
    if "redirect_uris" in sent:
        raise Rejected(Reason.REGISTRATION_REDIRECT_URIS)
    if "response_types" in sent:
        raise _unlike("response_types", "empty or left out")


def _subject(found: dict[str, Any], method: str | None) -> tuple[str, str] | None:
    """The one name of a certificate, taken out of what was found."""
    given = [(name, found.pop(name)) for name in SUBJECT_MEMBERS if name in found]
    wanted = 1 if method == names.TLS_CLIENT_AUTH else 0
    if len(given) != wanted:
        expected = "one member tls_client_auth_* with tls_client_auth, and none without"
        raise Rejected(Reason.REGISTRATION_METADATA, expected=expected)
    if not given:
        return None
    try:
        return check_subject(*given[0])
    except ConfigError:
        raise _unlike(given[0][0], "such a name") from None


def _unlike(name: str, wanted: str) -> Rejected:
    return Rejected(Reason.REGISTRATION_METADATA, expected=f"{name} to be {wanted}")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _unlike(name, "a string")
    try:
        return check_text(value)
    except ValueError as error:
        raise _unlike(name, str(error)) from None


def _texts(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_VALUES:
        raise _unlike(name, f"an array of at most {MAX_VALUES} strings")
    return tuple(dict.fromkeys(_text(name, item) for item in value))


def _contacts(name: str, value: object) -> list[str]:
    return list(_texts(name, value))


def _types(name: str, value: object) -> tuple[str, ...]:
    try:
        return tuple(map(authorization_details.check_type, _texts(name, value)))
    except ValueError as error:
        raise _unlike(name, str(error)) from None


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _unlike(name, "true or false")
    return value


def _web_page(name: str, value: object) -> str:
    # It becomes a link: of a scheme that does nothing but show a page, and with a host that everybody reads alike.
    if not isinstance(value, str) or len(value) > _MAX_URL or _WEB_PAGE.fullmatch(value) is None:
        raise _unlike(name, "the http or https URL of a page")
    return value


def _scope(name: str, value: object) -> tuple[str, ...]:
    try:
        return scopes.parse(value if isinstance(value, str) else "")
    except ValueError:
        raise _unlike(name, "names of scopes with single spaces between, at most 64") from None


def _statement(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _unlike(name, "a string")
    return value  # that it is a JWS of somebody who is trusted, was seen before


def _jwks_uri(name: str, value: object) -> str:
    try:
        return jwks_uri.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        raise Rejected(Reason.REGISTRATION_JWKS_URI, detail=f"{name}: {error}") from None


def _jwks(_: str, value: object) -> KeySet:
    try:
        found = KeySet.parse_given(value)
    except ConfigError as error:
        raise Rejected(Reason.REGISTRATION_KEYS, expected=f"other keys: {error}") from None
    for key in found.keys:
        _check_kid(key.kid)
    return found


def _check_kid(kid: str) -> None:
    try:
        if len(check_text(kid, longest=MAX_KID).encode()) > MAX_KID:
            raise ValueError(f"at most {MAX_KID} bytes long")
    except ValueError as error:
        raise Rejected(Reason.REGISTRATION_KEYS, expected=f"a kid {error}") from None


_DESCRIBED = ("client_uri", "contacts", "software_id", "software_version", STATEMENT)
_READERS: dict[str, Callable[[str, object], Any]] = {
    "token_endpoint_auth_method": _text,
    "token_endpoint_auth_signing_alg": _text,
    "grant_types": _texts,
    "scope": _scope,
    "jwks": _jwks,
    "jwks_uri": _jwks_uri,
    "client_name": _text,
    "client_uri": _web_page,
    "contacts": _contacts,
    "software_id": _text,
    "software_version": _text,
    STATEMENT: _statement,
    "tls_client_certificate_bound_access_tokens": _flag,
    "dpop_bound_access_tokens": _flag,
    "authorization_details_types": _types,
    **dict.fromkeys(SUBJECT_MEMBERS, _text),
}
MEMBERS = frozenset(_READERS)
