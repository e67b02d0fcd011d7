"""Read the form of a request strictly (RFC 6749 section 3.2 and appendix B)."""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import quote, unquote_to_bytes

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth import names
from affiant.system.values import Value

MAX_BYTES = 65_536
MAX_PARAMETERS = 32
# RFC 8707 section 2 and RFC 8693 section 2.1 allow several.
_REPEATABLE = frozenset({"resource", "audience"})
# Every request of a client has these, as libraries escape them.
_ESCAPED = {quote(value, safe=""): value for value in (names.JWT_BEARER_ASSERTION_TYPE, names.JWT_BEARER)}
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Form(Value, frozen=True):
    """The parameters of a request. A parameter without a value counts as absent (RFC 6749 section 3.1)."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"values"})

    values: dict[str, tuple[str, ...]]

    def get(self, name: str) -> str | None:
        values = self.values.get(name)
        return values[0] if values else None

    def all(self, name: str) -> tuple[str, ...]:
        return self.values.get(name, ())


def parse(body: bytes) -> Form:
    """Read a form, or raise a reason of step 1."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Rejected(Reason.ENCODING) from None
    fields = text.split("&", MAX_PARAMETERS) if text else []
    if len(fields) > MAX_PARAMETERS:
        raise Rejected(Reason.TOO_MANY_PARAMETERS, expected=f"at most {MAX_PARAMETERS}")
    # Attack: a parameter that only one of two parsers sees. Only "&" separates; for some parsers ";" does too.
    found: dict[str, tuple[str, ...]] = {}
    seen: set[str] = set()
    for pair in fields:
        name, _, value = pair.partition("=")
        if "%" in pair or "+" in pair:
            name, value = _decode(name), _decode(value)
        if name in seen and name not in _REPEATABLE:
            raise Rejected(Reason.DUPLICATE_PARAMETER, got=_known(name))
        seen.add(name)
        if value:
            found[name] = (*found[name], value) if name in found else (value,)
    return Form(found)


def _decode(text: str) -> str:
    text = text.replace("+", " ")
    if "%" not in text or text in _ESCAPED:
        return _ESCAPED.get(text, text)
    if _BROKEN_ESCAPE.search(text):
        raise Rejected(Reason.ENCODING)
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise Rejected(Reason.ENCODING) from None


def _known(name: str) -> str:
    """Return the name if it looks like a parameter: the error must not repeat other text of the caller."""
    return name if re.fullmatch(r"[a-z_]{1,32}", name) else "a parameter"
