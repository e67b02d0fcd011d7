"""What a request asks for, as every grant reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affiant.errors import Rejected
from affiant.oauth import resource_indicator
from affiant.oauth import scope as oauth_scope
from affiant.reasons import Reason

if TYPE_CHECKING:
    from affiant.oauth.form import Form


def scope(form: Form) -> tuple[str, ...] | None:
    """The names of the scope parameter, or None where it is absent.

    Raises:
        Rejected: SCOPE_MALFORMED.
    """
    text = form.get("scope")
    try:
        return oauth_scope.parse(text) if text is not None else None
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
