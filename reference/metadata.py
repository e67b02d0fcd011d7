"""docs/reference/metadata.md: what the server says of itself, what clients register, and what tokens say."""

from __future__ import annotations

from reference import running
from reference.markdown import head, members

from affiant.server.published import descriptions as published
from affiant.server.registration import descriptions as registration
from affiant.server.token import descriptions as token

_TEXT = """\
Members that are not listed are not there. Where the source is `affiant`, no standard has the member."""
_REGISTERED = """\
Members that a client may send to `/register` (RFC 7591). Null and an empty array count as left out. A string has at \
most 200 characters, all of which can be seen. `token_endpoint_auth_method` is `client_secret_basic` when left out. \
`scope` and `authorization_details_types` are among those of the initial access token; all scopes when left out. A \
client can ask for bound tokens, but not take that back."""
_SECTIONS = (
    (
        "Server metadata",
        "At `/.well-known/oauth-authorization-server` and `/.well-known/openid-configuration` (RFC 8414).",
        published.METADATA,
    ),
    (
        "Client metadata",
        _REGISTERED,
        registration.METADATA,
    ),
    ("Access token claims", "The access token is a JWT with the `typ` `at+jwt` (RFC 9068).", token.ACCESS_TOKEN),
    ("Introspection answer", "What `/introspect` says (RFC 7662).", token.INTROSPECTION.answers),
    (
        "Claims of a signed introspection answer",
        "For who asks for `application/token-introspection+jwt` (RFC 9701).",
        token.INTROSPECTION_CLAIMS,
    ),
)


def build() -> str:
    """The page, in Markdown.

    Raises:
        KeyError: the server says something that is not described.
    """
    known = {member.name for member in published.METADATA}
    if unknown := running.metadata().keys() - known:
        raise KeyError(*unknown)
    sections = (f"\n## {title}\n\n{text}\n{members(rows)}" for title, text, rows in _SECTIONS)
    change = "the descriptions.py of published, registration and token in src/affiant/server"
    return head("Metadata, claims and members", _TEXT, change=change) + "".join(sections)
