"""Audit records of changes: author, subject, before and after, never a secret; written in the commit of the change."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import base64url
from affiant.server.admin.calls import Call
from affiant.server.admin.models import Out
from affiant.storage.entries import AuditOutcome, AuditRecord, Entry, RefreshSelection, Revocation
from affiant.storage.ports import Audit

Document = TypeVar("Document", bound=Out)
Show = Callable[[Any], Out]


class Ended(NamedTuple):
    """The tokens that end with a change: of both kinds, or the refresh tokens would bring the others back."""

    access: Revocation
    refresh: RefreshSelection | None = None  # None: no refresh token was given


def audit(call: Call, subject: str, show: Show, *, ends: Callable[[Any, Any], Ended | None] | None = None) -> Audit:
    """Return what makes the audit entries of a change; `show` views a record, `ends` finds the tokens that end."""

    def entries(before: Any, after: Any) -> list[Entry]:
        was, is_now = (show(one).model_dump(mode="json") if one is not None else None for one in (before, after))
        entry = record(call, subject, outcome=_outcome(was, is_now)).with_change(was, is_now)
        ended = ends(before, after) if ends is not None else None
        if ended is None:
            return [Entry(entry)]
        return [Entry(entry, revocations=(ended.access,), revoke_refresh=ended.refresh)]

    return entries


def check_match(if_match: str | None, document: Out) -> None:
    """Raise ADMIN_CHANGED unless If-Match has the tag of this document (RFC 9110 section 13.1.1)."""
    tags = {tag.strip() for tag in if_match.split(",")} if if_match is not None else {"*"}
    if not tags & {"*", etag(document)}:
        raise Rejected(Reason.ADMIN_CHANGED)


def tagged(call: Call, document: Document) -> Document:
    """Answer with the ETag of this document, and return it."""
    call.headers["ETag"] = etag(document)
    return document


def etag(document: Out) -> str:
    """Return the ETag, which changes with the document (RFC 9110 section 8.8.3)."""
    return f'"{base64url.encode(sha256(document.model_dump_json().encode()).digest()[:16])}"'


def record(call: Call, subject: str, *, outcome: AuditOutcome) -> AuditRecord:
    """The record of a change."""
    call.request.notes.outcome = outcome
    call.request.notes.subject = subject
    return call.request.record()


def _outcome(before: object, after: object) -> AuditOutcome:
    return "created" if before is None else "removed" if after is None else "changed"
