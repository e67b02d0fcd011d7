"""A ticket: an initial access token and its server in one string, so that a machine's owner copies one thing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from affiant.client.credentials.registration import check_token
from affiant.client.token import NotPickled
from affiant.errors import LocalError
from affiant.jose import base64url
from affiant.jose.strict_json import parse_object
from affiant.oauth.metadata import check_issuer

PREFIX = "affiant-ticket-"
LONGEST = 8192  # characters
_MEMBERS = {"issuer", "token"}


@dataclass(frozen=True, slots=True)
class Ticket(NotPickled):
    issuer: str
    token: str = field(repr=False)

    def text(self) -> str:
        members = {"issuer": self.issuer, "token": self.token}
        return PREFIX + base64url.encode(json.dumps(members, separators=(",", ":")).encode())


def parse(text: str) -> Ticket:
    """Read a ticket. The error does not show it."""
    try:
        if not text.startswith(PREFIX) or len(text) > LONGEST:
            raise ValueError("no prefix")
        members = parse_object(base64url.decode(text.removeprefix(PREFIX)))
        if members.keys() != _MEMBERS or not all(isinstance(value, str) for value in members.values()):
            raise ValueError("other members")
        return Ticket(check_issuer(members["issuer"]), check_token(members["token"]))
    except (ValueError, LocalError):
        raise LocalError(
            f"this is not a whole ticket: that is one line, which begins with {PREFIX}."
            " Copy it again, or ask an operator for another: affiant invitation new --ticket"
        ) from None
