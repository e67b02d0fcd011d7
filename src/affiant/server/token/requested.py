"""Read the parameters that say what a request asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth.parameters import authorization_details, resource_indicator
from affiant.oauth.parameters import scope as oauth_scope
from affiant.oauth.parameters.authorization_details import Details
from affiant.oauth.parameters.form import MAX_PARAMETERS, Form


def scope(form: Form) -> tuple[str, ...] | None:
    """Return the names of the scope parameter, or None if it is absent."""
    return parse_scope(form.get("scope"))


def parse_scope(text: object) -> tuple[str, ...] | None:
    """Return the names in this text, or None without a text."""
    if text in (None, ""):  # RFC 6749 section 3.2: an empty parameter counts as absent
        return None
    try:
        return oauth_scope.parse(text if isinstance(text, str) else "")
    except ValueError:
        raise Rejected(Reason.SCOPE_MALFORMED) from None


def resource(form: Form, *, signed: object = None) -> tuple[str, ...]:
    """Return the identifiers of the APIs that a request asks for, each once.

    Many clients send `audience` instead of `resource` (RFC 8707). Both mean the same here: a token for another API than
    the named one is useless. An audience need not be a URI (RFC 8693 section 2.1): it is compared as it is.
    """
    named, audience = form.all("resource"), form.all("audience")
    if not (named or audience) and signed is None:
        return ()
    named, audience = _identifiers(named), tuple(dict.fromkeys(audience))
    if named and audience and set(named) != set(audience):
        raise Rejected(Reason.RESOURCE_CONFLICT, expected=" or ".join(named))
    asked, allowed = named or audience, _parse_signed(signed)
    if allowed and not set(asked) <= set(allowed):
        raise Rejected(Reason.RESOURCE_NOT_ALLOWED, expected=" or ".join(allowed))
    return asked or allowed


def _parse_signed(claim: object) -> tuple[str, ...]:
    """Read the claim `resource`: one identifier, or an array of them; none where it is absent or empty."""
    values: list[Any] = claim if isinstance(claim, list) else [claim] if claim not in (None, "") else []
    if len(values) > MAX_PARAMETERS or not all(isinstance(value, str) for value in values):
        raise Rejected(Reason.RESOURCE_MALFORMED)
    return _identifiers(values)


def _identifiers(values: Iterable[str]) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(map(resource_indicator.parse, values)))
    except ValueError:
        raise Rejected(Reason.RESOURCE_MALFORMED) from None


def details(form: Form) -> Details:
    """Return the entries of authorization_details; none if it is absent."""
    text = form.get(authorization_details.PARAMETER)
    try:
        return authorization_details.parse(text) if text is not None else ()
    except (ValueError, RecursionError) as error:
        raise Rejected(Reason.DETAILS_MALFORMED, detail=str(error)[:100]) from None
