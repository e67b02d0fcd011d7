"""GitHub Actions: a new token for each request (OpenID Connect, "Updating your actions for OIDC")."""

from __future__ import annotations

import os

from affiant.client.platforms import asking
from affiant.client.platforms.failure import PlatformError
from affiant.jose.strict_json import parse_object
from affiant.system.urls import is_safe_url

_URL, _TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
_PERMISSION = (
    "the job has no permission for it: add  permissions: id-token: write  to the workflow (a pull request from a fork"
    " never gets it)"
)


def fetch(audience: str, where: str) -> str:  # noqa: ARG001 - every platform has both
    """Return a new token for this audience."""
    url, bearer = os.environ.get(_URL), os.environ.get(_TOKEN)
    if not url or not bearer:
        why = _PERMISSION if os.environ.get("GITHUB_ACTIONS") == "true" else f"{_URL} is not set: is this its job?"
        raise PlatformError(f"github: {why}")
    if not is_safe_url(url):  # Attack: the variable is another's, and the request token goes there in clear text
        raise PlatformError(f"github: {_URL} is not an https URL")
    reply = asking.get(
        asking.with_query(url, audience=audience),
        {"authorization": f"bearer {bearer}", "accept": "application/json"},
        who="github",
        through_proxy=True,
    )
    asking.check_ok(reply, who="github", refused="is the job over, or its permission  id-token: write  missing?")
    try:
        value = parse_object(reply.body).get("value")
    except ValueError:
        value = None
    if not isinstance(value, str):
        raise PlatformError('github: the answer has no "value"')
    return value
