"""Kinds of JSON values in registrations: each one is read, limited and described in one place.

`parse` returns the typed value, or raises a ValueError whose text completes "NAME must be ...". `none` is the JSON
value for no value, where leaving a member out means that it stays; `rendered` is the type of the JSON value.
"""

from __future__ import annotations

import json
import re
import ssl
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from affiant.errors import ConfigError
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.key_set import KeySet
from affiant.oauth import assertion, names
from affiant.oauth.federation import conditions
from affiant.oauth.parameters import authorization_details, jwks_uri, resource_indicator, scope
from affiant.storage.entries import LONGEST_TOKEN
from affiant.storage.records import ClaimCondition

GRANT_TYPES = (names.CLIENT_CREDENTIALS, names.REFRESH_TOKEN, names.JWT_BEARER, names.TOKEN_EXCHANGE)
SERVERS_CHOICE = "default"  # of an API without an algorithm of its own
NONE = "none"  # of a client without a profile
SHORTEST_TOKEN = 10  # seconds, as in the settings
MAX_TEXT = 200  # characters
MAX_LABELS = 32  # of a record
MAX_CLIENT_ID = 256
MAX_CONDITIONS, MAX_VALUES = 16, 64  # of a rule, and of one condition
_PEM = re.compile(r"-----BEGIN ([^-]*)-----")
# Controls, formats (invisible, or change the direction of a line), surrogates, unassigned, private use, line ends.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class Text:
    """A string.

    `pattern` is for JSON Schema, in the syntax that Python and ECMA-262 share; `check` decides.
    """

    rendered: ClassVar[Any] = str
    none: ClassVar[object] = None
    check: Callable[[str], object]
    pattern: re.Pattern[str] | None = None
    longest: int = 256

    def parse(self, value: object) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= self.longest:
            raise ValueError(f"a string of 1 to {self.longest:,} characters")
        self.check(value)
        return value

    def schema(self) -> dict[str, Any]:
        described: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": self.longest}
        if self.pattern is not None:
            # JSON Schema section 6.4: ECMA-262, which spells the names of groups in another way.
            ecma = re.sub(r"\(\?P<[a-z]+>", "(?:", self.pattern.pattern).replace(r"\Z", "$")
            described["pattern"] = f"^(?:{ecma})$"
        return described


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these words; `none` is the word for no value."""

    rendered: ClassVar[Any] = str
    words: tuple[str, ...]
    none: str | None = None

    def parse(self, value: object) -> str | None:
        if value not in self.words or not isinstance(value, str):
            raise ValueError(f"one of: {', '.join(self.words)}")
        return None if value == self.none else value

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class Names:
    """A list without order, in which a repeated item counts once."""

    rendered: ClassVar[Any] = list[str]
    none: ClassVar[object] = None
    item: Text | Choice
    least: int = 0
    most: int = scope.MAX_NAMES

    def parse(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not self.least <= len(value) <= self.most:
            raise ValueError(f"an array of {f'{self.least} to' if self.least else 'at most'} {self.most} strings")
        try:
            return tuple(dict.fromkeys(str(self.item.parse(each)) for each in value))
        except ValueError as error:
            raise ValueError(f"an array in which each item is {error}") from None

    def schema(self) -> dict[str, Any]:
        least = {"minItems": self.least} if self.least else {}
        return {"type": "array", "items": self.item.schema(), **least, "maxItems": self.most}


class ScopeText:
    """A scope as RFC 6749 section 3.3 writes it: names with single spaces between."""

    def parse(self, value: object) -> tuple[str, ...]:
        try:
            return scope.parse(value if isinstance(value, str) else "")
        except ValueError:
            raise ValueError(f"1 to {scope.MAX_NAMES} names of scopes with single spaces between") from None

    def render(self, value: Iterable[str]) -> str:
        return " ".join(value)


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false; with `only_true`, a flag that moves elsewhere instead of being cleared."""

    rendered: ClassVar[Any] = bool
    none: ClassVar[object] = None
    only_true: bool = False

    def parse(self, value: object) -> bool:
        if not isinstance(value, bool):  # 1 equals true in Python
            raise ValueError("true or false")  # noqa: TRY004 - callers catch one kind
        if self.only_true and not value:
            raise ValueError("true, or left out")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean", "const": True} if self.only_true else {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number; 0 is no value, named by `without`, and read as None. On the command line it has a `word`."""

    rendered: ClassVar[Any] = int
    none: ClassVar[object] = 0
    least: int
    most: int
    unit: str
    without: str
    word: str

    def parse(self, value: object) -> int | None:
        if (
            not isinstance(value, int)
            or isinstance(value, bool)
            or not (value == 0 or self.least <= value <= self.most)
        ):
            raise ValueError(f"{self.least} to {self.most} {self.unit}, or 0 for {self.without}")
        return value or None

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"const": 0}, {"type": "integer", "minimum": self.least, "maximum": self.most}]}


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions on claims: an object of the claim and the array of its values."""

    rendered: ClassVar[Any] = dict[str, list[str | bool | int]]
    none: ClassVar[object] = None

    def parse(self, value: object) -> tuple[ClaimCondition, ...]:
        if not isinstance(value, Mapping) or len(value) > MAX_CONDITIONS:
            raise ValueError(f"an object of at most {MAX_CONDITIONS} claims, each with an array of values")
        return tuple(ClaimCondition(conditions.check_claim(claim), _values(claim, of)) for claim, of in value.items())

    def schema(self) -> dict[str, Any]:
        one = {"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer"}, {"type": "boolean"}]}
        values = {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_VALUES}
        return {"type": "object", "additionalProperties": values, "maxProperties": MAX_CONDITIONS}


@dataclass(frozen=True, slots=True)
class JwkSet:
    """A JWK Set with public keys alone (RFC 7517 section 5), kept as JSON text."""

    rendered: ClassVar[Any] = dict[str, Any]
    none: ClassVar[object] = None
    longest: int = 1 << 16

    def parse(self, value: object) -> str:
        try:
            KeySet.parse_given(value, is_bundle=True)
        except ConfigError as error:
            raise ValueError(f"a JWK Set with public keys alone ({error})") from None
        text = json.dumps(value, separators=(",", ":"), sort_keys=True)
        if len(text) > self.longest:
            raise ValueError(f"a JWK Set of at most {self.longest:,} characters")
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "required": ["keys"], "properties": {"keys": {"type": "array"}}}


@dataclass(frozen=True, slots=True)
class Emptied:
    """A text; the empty one is no value."""

    rendered: ClassVar[Any] = str
    none: ClassVar[object] = ""
    text: Text

    def parse(self, value: object) -> str | None:
        return None if value == self.none else self.text.parse(value)

    def schema(self) -> dict[str, Any]:
        return {**self.text.schema(), "minLength": 0}


Kind = Text | Emptied | Choice | Names | Flag | Number | Conditions | JwkSet


def _values(claim: str, values: object) -> tuple[str | bool | int, ...]:
    if not isinstance(values, list | tuple) or not 0 < len(values) <= MAX_VALUES:
        raise ValueError(f"an object in which {claim} has an array of 1 to {MAX_VALUES} values")
    try:
        typed = [conditions.check_value(value) for value in values]
    except ValueError as error:
        raise ValueError(f"an object in which each value of {claim} is {error}") from None
    # 1 equals True in Python, and is another value here.
    return tuple({(type(value), value): value for value in typed}.values())


def seconds(
    least: int = SHORTEST_TOKEN, most: int = LONGEST_TOKEN, without: str = "the setting of the server"
) -> Number:
    """A lifetime; that of an access token unless it says otherwise: longer ones would outlive their revocation."""
    return Number(least, most, "seconds", without, "default")


def matching(pattern: re.Pattern[str], wanted: str, *, longest: int = 256) -> Text:
    """A text that matches the pattern as a whole."""

    def check(text: str) -> None:
        if pattern.fullmatch(text) is None:
            raise ValueError(wanted)

    return Text(check, pattern, longest)


def is_visible(text: str) -> bool:
    """Whether a person can see every character of the text."""
    return not any(unicodedata.category(character) in _UNSEEN for character in text)


def _check_visible(text: str) -> None:
    if not is_visible(text):
        raise ValueError("a string without control characters and others that cannot be seen")


def _check_jwks_uri(text: str) -> None:
    try:
        jwks_uri.parse(text)
    except ValueError as error:
        raise ValueError(f"the https URL of a JWK Set ({error})") from None


def _check_certificates(text: str) -> None:
    # Danger: the file of an authority often has its private key too, which would be stored, shown and audited.
    if not text.isascii() or not set(_PEM.findall(text)) <= {"CERTIFICATE"}:
        raise ValueError("certificates alone: this has something else, which may be a private key")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise ValueError("certificates in PEM, as in  -----BEGIN CERTIFICATE-----") from None


def _check_issuer(text: str) -> None:
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("the issuer, exactly as its tokens write it, such as https://issuer.example")


# RFC 6749 A.1 allows every visible character. These are the ones that occur in the ids of Keycloak, Kubernetes, SPIFFE,
# Google and Gluu, and in URLs. Others mean something to a reader of the id: % is another character once decoded, a hash
# ends a URL, quotes and brackets are for shells. RFC 3986 section 5.2.4: a segment . or .. is taken out of a path.
CLIENT_ID = matching(
    re.compile(rf"(?!(?:.*/)?\.\.?(?:/|\Z))[A-Za-z0-9._~:/@+=,!?&-]{{1,{MAX_CLIENT_ID}}}"),
    f"1 to {MAX_CLIENT_ID} of the characters A-Z a-z 0-9 . _ ~ - : / @ + = , ! ? &, without a segment . or ..",
    longest=MAX_CLIENT_ID,
)
CLIENTS = Names(CLIENT_ID)
# Of a team, a trust or a rule: it is part of tokens, records and commands.
NAME = matching(
    re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"),
    "1 to 64 of the characters a-z 0-9 . _ -, the first and the last a letter or digit",
    longest=64,
)
TEAM = Emptied(NAME)
TEAMS = Names(NAME, most=MAX_LABELS)
LABELS = Names(
    matching(
        re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}(?:=[A-Za-z0-9][A-Za-z0-9._/:@+-]{0,62})?"),
        "a label: a word such as batch, or two such as env=prod, each of at most 63 of A-Z a-z 0-9 . _ / -",
        longest=127,
    ),
    most=MAX_LABELS,
)
VISIBLE = Text(_check_visible, re.compile(r"[^\x00-\x1f\x7f-\x9f]+"), MAX_TEXT)
LABEL = Text(_check_visible, VISIBLE.pattern, 100)
CONTACT = Emptied(VISIBLE)
# It becomes a link: of a scheme that only shows a page, with a host that every browser reads alike.
WEB_PAGE = matching(
    re.compile(r"https?://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:[/?#][!#-;=?-Z\[\]_a-z~]*)?"),
    "the http or https URL of a page",
    longest=2000,
)
STATEMENT = Text(lambda _: None, longest=1 << 16)  # its signature was verified before
API = Text(resource_indicator.parse, resource_indicator.ABSOLUTE)
APIS = Names(API)
ISSUER = Text(_check_issuer, re.compile(r"[\x21-\x7e]+"), 512)
JWKS = JwkSet()
CERTIFICATES = Emptied(Text(_check_certificates, longest=1 << 16))
JWKS_URI = Text(_check_jwks_uri, jwks_uri.URI, jwks_uri.MAX_CHARACTERS)
SCOPE = Names(matching(scope.NAME, "a scope: printable ASCII without a space, a double quote or a backslash"))
TYPES = Names(matching(authorization_details.TYPE, "a type: printable ASCII characters without a space"))
GRANTS = Names(Choice(GRANT_TYPES), least=1, most=len(GRANT_TYPES))
RULES = Names(Choice(assertion.RULES), most=len(assertion.RULES))
SIGNING_ALG = Choice((*ASYMMETRIC, SERVERS_CHOICE), none=SERVERS_CHOICE)
BUDGET = Number(1, 10**9, "tokens per hour", "no budget", "none")
FLAG, LIFETIME, CONDITIONS = Flag(), seconds(), Conditions()


def is_client_id(text: str) -> bool:
    """Whether a client may have this name."""
    try:
        return bool(CLIENT_ID.parse(text))
    except ValueError:
        return False


def is_name(text: str) -> bool:
    """Whether a team, a trust or a rule may have this name."""
    return len(text) <= NAME.longest and NAME.pattern is not None and NAME.pattern.fullmatch(text) is not None


def read(name: str, kind: Kind, value: object) -> Any:
    """Return the typed value of this member; raise ConfigError with its name if it has none."""
    try:
        return kind.parse(value)
    except ValueError as error:
        raise ConfigError(f"{name} must be {error}") from None
