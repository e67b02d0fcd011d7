"""The key files that Google and ZITADEL give to a service: JSON with a PEM, its kid and the client_id.

Loads no cryptography.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from affiant.errors import ConfigError
from affiant.signers.forms.spelling import unwrap


class _Members(NamedTuple):
    key: str
    kid: str
    client_id: str


_KINDS = {  # by the member `type`
    "service_account": _Members("private_key", "private_key_id", "client_email"),  # Google
    "serviceaccount": _Members("key", "keyId", "userId"),  # ZITADEL
    "application": _Members("key", "keyId", "clientId"),  # ZITADEL
}


def is_known(members: Mapping[str, Any]) -> bool:
    """Whether this is such a file."""
    return isinstance(members.get("type"), str) and members["type"] in _KINDS and "kty" not in members


def read(members: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the PEM and its kid."""
    names = _KINDS[members["type"]]
    text, kid = members.get(names.key), members.get(names.kid)
    if not isinstance(text, str) or not text:
        raise ConfigError(f'this key file of type {members["type"]} lacks "{names.key}", the PEM of the private key')
    return text, kid if isinstance(kid, str) and kid else None


def find_client_id(text: str) -> str | None:
    """Return the client_id in the text of such a file, or None."""
    try:
        members = json.loads(unwrap(text))
    except (ValueError, RecursionError):
        return None
    if not isinstance(members, dict) or not is_known(members):
        return None
    found = members.get(_KINDS[members["type"]].client_id)
    return found if isinstance(found, str) and found else None
