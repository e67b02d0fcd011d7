"""docs/reference/reasons.md: every reason of the closed list, with its page."""

from __future__ import annotations

from itertools import groupby

from reference.markdown import head

from affiant.errors.reasons import Reason
from affiant.server.published.pages import GENERIC

_TEXT = f"""\
Every refusal of affiant has one of these reasons. The answer has its sentence, and its page as `error_uri`:
`<issuer>/errors/<code>`. The audit log has it under the `trace_id` of the answer; `affiant explain TRACE_ID` says more
about one request. Codes are stable; sentences may change.

From the look-up of the client to the verification of its signature (steps 5 to 7), the answer has only
`{GENERIC}`, whatever the reason: it discloses nothing about clients and keys. The audit log has the
reason.

An API answers what is wrong with a DPoP proof with 401 and a challenge, where the token endpoint answers 400."""
_PARTS = {
    "request": "The request",
    "client": "The client",
    "assertion": "The assertion",
    "trust": "The trust in the issuer of a platform's token",
    "rule": "The rule for a platform's token",
    "key": "The client's key",
    "jwks": "The client's keys at its jwks_uri",
    "signature": "The signature",
    "secret": "The secret",
    "certificate": "The client certificate",
    "dpop": "The DPoP proof",
    "grant": "The grant",
    "ceiling": "Everything that limits a token",
    "scope": "Scope",
    "resource": "Resource",
    "authorization_details": "Authorization details",
    "refresh_token": "The refresh token",
    "exchange": "Token exchange",
    "introspection": "Introspection",
    "revocation": "Revocation",
    "client_keys": "The client's keys, changed by itself",
    "registration": "Registration",
    "limit": "Limits",
    "server": "The server",
    "token": "The access token, at an API",
    "admin": "The admin API and the console",
    "console": "Sign-in to the console",
}


def build() -> str:
    """The page, in Markdown."""
    by_part = sorted(Reason, key=lambda reason: [*_PARTS].index(_part(reason)))
    return head("Reasons", _TEXT, change="src/affiant/errors/reasons.py") + "".join(
        f"\n## {_PARTS[part]}\n{''.join(map(_entry, reasons))}" for part, reasons in groupby(by_part, key=_part)
    )


def _part(reason: Reason) -> str:
    return reason.code.partition(".")[0]


def _entry(reason: Reason) -> str:
    row = reason.value
    step = f", step {row.step}" if row.step else ""
    return (
        f"\n### `{row.code}`\n\n{row.status} `{row.error}`{step} · {row.source}\n\n"
        f"{row.sentence[0].upper()}{row.sentence[1:]}.\n\n{row.fix}\n"
    )
