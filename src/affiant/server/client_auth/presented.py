"""Rung 2: the one way in which a request authenticates (RFC 6749 section 2.3, RFC 7521 section 4.2)."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import ClassVar
from urllib.parse import unquote_plus

from affiant.errors import Rejected
from affiant.oauth import names
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.parameters.form import Form
from affiant.reasons import Reason
from affiant.values import Value

_SCHEMES = ("Basic", "Bearer", "DPoP", "Digest", "Negotiate")


class Assertion(Value, frozen=True):
    """A client assertion."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"text"})

    text: str
    client_id: str | None


class Secret(Value, frozen=True):
    """A client secret, and how it came."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"secret"})

    method: str
    client_id: str
    secret: str


class Guide(Value, frozen=True):
    """The guide's request: a JWT in `assertion`, perhaps with a secret beside it."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"text", "secret"})

    text: str
    client_id: str | None
    secret: str | None


class OverTls(Value, frozen=True):
    """A certificate, and the client that says it is its own."""

    client_id: str
    certificate: Certificate


Presented = Assertion | Secret | Guide | OverTls


def parse(
    form: Form, authorization: list[bytes], certificate: Certificate | None = None, *, has_grant: bool = True
) -> Presented:
    """The one way in which this request authenticates.

    A certificate counts only where nothing else is shown: next to an assertion or a secret it is what tokens can be
    bound to, and no second way (RFC 8705 section 3).
    """
    assertion, kind = form.get("client_assertion"), form.get("client_assertion_type")
    secret = form.get("client_secret")
    grant = form.get("grant_type") if has_grant else None
    given = {"client_assertion": assertion, "client_secret": secret}
    shown = [name for name, value in given.items() if value is not None]
    if shown == ["client_secret"] and form.get("client_id") is not None and form.get("assertion") is None:
        authorization = _without_token(authorization)
    if assertion is not None and (authorization or secret is not None):
        raise Rejected(Reason.ASSERTION_AND_OTHER, got=_methods(authorization, shown))  # RFC 7521 section 4.2.1
    if authorization and (secret is not None or len(authorization) > 1):
        raise Rejected(Reason.MULTIPLE_METHODS, got=_methods(authorization, shown))  # RFC 6749 section 5.2
    if (assertion is None) != (kind is None):
        raise Rejected(Reason.HALF_ASSERTION)
    if form.get("assertion") is not None and grant == names.CLIENT_CREDENTIALS:
        return _guide(form, assertion, authorization)
    if grant == names.JWT_BEARER:
        return _bearer(form, assertion, secret, authorization)
    if assertion is None and secret is None and not authorization and certificate is not None:
        return _over_tls(form, certificate)
    return _one(form, assertion, kind, secret, authorization)


def _without_token(authorization: list[bytes]) -> list[bytes]:
    """Ignore an access token that comes with a client_id and its secret: a token does not authenticate a client.

    RFC 6749 section 2.3 forbids a second method, and a token is not a method. PyIceberg sends its expired token with
    the secret. The token is neither read nor recorded. Two headers are not ignored: which one counts would be a guess.
    Nor is a header next to an assertion (RFC 7521 section 4.2.1): it may be a second assertion.
    """
    has_token = len(authorization) == 1 and _scheme(authorization[0]) in ("Bearer", "DPoP")
    return [] if has_token else authorization


def _scheme(value: bytes) -> str:
    """Return the scheme of an Authorization header, if it is a known one: nothing else of the header may be shown."""
    name = value.partition(b" ")[0].lower()
    return next((known for known in _SCHEMES if known.lower().encode() == name), "another scheme")


def _methods(authorization: list[bytes], shown: list[str]) -> str:
    """Name the methods that came together, without their content."""
    return " beside ".join([*(f"Authorization: {_scheme(value)}" for value in authorization), *shown])


def _one(
    form: Form, assertion: str | None, kind: str | None, secret: str | None, authorization: list[bytes]
) -> Presented:
    if assertion is not None:
        if kind != names.JWT_BEARER_ASSERTION_TYPE:
            raise Rejected(Reason.ASSERTION_TYPE, expected=names.JWT_BEARER_ASSERTION_TYPE)
        return Assertion(assertion, form.get("client_id"))
    if authorization:
        return _basic(authorization[0], form.get("client_id"))
    client_id = form.get("client_id")
    if secret is None or client_id is None:
        raise Rejected(Reason.NO_CREDENTIALS)
    return Secret(names.CLIENT_SECRET_POST, client_id, secret)


def _over_tls(form: Form, certificate: Certificate) -> OverTls:
    client_id = form.get("client_id")
    if client_id is None:  # RFC 8705 section 2: by it alone the client is found
        raise Rejected(Reason.NO_CREDENTIALS, expected="client_id")
    return OverTls(client_id, certificate)


def _bearer(form: Form, assertion: str | None, secret: str | None, authorization: list[bytes]) -> Assertion:
    """RFC 7523 section 2.1: the grant itself is the client's assertion about itself, and authenticates it."""
    granted = form.get("assertion")
    if granted is None:
        raise Rejected(Reason.MISSING_PARAMETER, expected="assertion")
    if assertion is not None:
        raise Rejected(Reason.ASSERTION_AND_OTHER)  # RFC 7521 section 4.2.1
    if secret is not None or authorization:
        shown = ["assertion", *(["client_secret"] if secret is not None else [])]
        raise Rejected(Reason.MULTIPLE_METHODS, got=_methods(authorization, shown))
    return Assertion(granted, form.get("client_id"))


def _guide(form: Form, assertion: str | None, authorization: list[bytes]) -> Guide:
    if assertion is not None or authorization:
        raise Rejected(Reason.MISPLACED_ASSERTION)
    return Guide(form.get("assertion") or "", form.get("client_id"), form.get("client_secret"))


def _basic(value: bytes, client_id: str | None) -> Secret:
    scheme, _, encoded = value.partition(b" ")
    try:
        if scheme.lower() != b"basic":
            raise ValueError("scheme")
        user, colon, password = b64decode(encoded, validate=True).decode("utf-8").partition(":")
        # RFC 6749 section 2.3.1: both were form-encoded before they were joined.
        name, secret = unquote_plus(user, errors="strict"), unquote_plus(password, errors="strict")
    except (binascii.Error, ValueError):
        raise Rejected(Reason.BASIC_MALFORMED) from None
    if not (colon and name and secret):
        raise Rejected(Reason.BASIC_MALFORMED)
    if client_id is not None and client_id != name:
        raise Rejected(Reason.MULTIPLE_METHODS)
    return Secret(names.CLIENT_SECRET_BASIC, name, secret)
