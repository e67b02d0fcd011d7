"""What a request asks for, as every grant reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affiant.errors import Rejected
from affiant.oauth.parameters import authorization_details, resource_indicator
from affiant.oauth.parameters import scope as oauth_scope
from affiant.reasons import Reason

if TYPE_CHECKING:
    from affiant.oauth.parameters.authorization_details import Details
    from affiant.oauth.parameters.form import Form


def scope(form: Form) -> tuple[str, ...] | None:
    """The names of the scope parameter, or None where it is absent.

    Raises:
        Rejected: SCOPE_MALFORMED.
    """
    return parse_scope(form.get("scope"))


def parse_scope(text: object) -> tuple[str, ...] | None:
    """The names in this text, or None where there is none.

    Raises:
        Rejected: SCOPE_MALFORMED.
    """
    if text in (None, ""):  # RFC 6749 section 3.2: without a value it counts as left out
        return None
    try:
        return oauth_scope.parse(text if isinstance(text, str) else "")
    except ValueError:
        raise Rejected(Reason.SCOPE_MALFORMED) from None


def resource(form: Form) -> tuple[str, ...]:
    """The values of the resource parameter, each once.

    Raises:
        Rejected: RESOURCE_MALFORMED.
    """
    try:
        return tuple(dict.fromkeys(map(resource_indicator.parse, form.all("resource"))))
    except ValueError:
        raise Rejected(Reason.RESOURCE_MALFORMED) from None


def details(form: Form) -> Details:
    """The entries of authorization_details; none where it is absent.

    Raises:
        Rejected: DETAILS_MALFORMED.
    """
    text = form.get(authorization_details.PARAMETER)
    try:
        return authorization_details.parse(text) if text is not None else ()
    except (ValueError, RecursionError) as error:
        raise Rejected(Reason.DETAILS_MALFORMED, detail=str(error)[:100]) from None
