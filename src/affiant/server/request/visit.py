"""What is written down of each decision, while the request is on its way."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from affiant.errors import Rejected
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.parameters.form import Form
from affiant.reasons import Reason
from affiant.server.client_auth.findings import Findings
from affiant.server.request.identifiers import new_trace_id
from affiant.storage.entries import AuditOutcome, AuditRecord

if TYPE_CHECKING:
    from affiant.server.client_auth.ladder import Authenticated

REFUSED: Final = "refused"  # the outcome of a request that was not let through
MAX_SHOWN = 256  # characters of anything that a caller chose
MAX_NAME = 256  # of the claimed client_id, as long as registered ones may be
# What looks like a token, wherever it stands; and in a parameter that is no place for one, what looks like a secret.
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_.-]{16,}")
_CREDENTIAL = re.compile(r"eyJ[A-Za-z0-9_.-]{16,}|[A-Za-z0-9_-]{40,}")


@dataclass(slots=True)
class Visit:
    """One request, as far as it has come."""

    endpoint: str
    address: str
    now: float
    trace_id: str = field(default_factory=new_trace_id)
    started: float = field(default_factory=time.perf_counter)
    claimed: str | None = None
    grant: str | None = None  # of a token request; others ask for none
    scope: str | None = None
    resource: str | None = None
    authenticated: Authenticated | None = None
    findings: Findings | None = None  # about an assertion that is not accepted
    is_read: bool = False
    outcome: AuditOutcome = "issued"
    note: str | None = None
    token: str | None = None
    certificate: Certificate | None = None  # that the request came with, whoever it is of
    by: str | None = None  # who changes something; from then on it has proved that it may
    subject: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()  # of the answer, whichever it is
    challenges: bool = True  # False where who is not authenticated is answered 400 (RFC 9701 section 5)

    def read(self, form: Form) -> None:
        """Note what the request says of itself; none of it is proved."""
        self.is_read = True
        self.grant = form.get("grant_type")
        self.claimed = _short(form.get("client_id"))
        self.scope = form.get("scope")
        self.resource = " ".join(form.all("resource") or form.all("audience")) or None

    def record(self, refusal: Rejected | None = None) -> AuditRecord:
        """The record of the decision."""
        who = self.authenticated
        found = self.findings if refusal else None
        return AuditRecord(
            at=self.now,
            trace_id=self.trace_id,
            endpoint=self.endpoint,
            outcome=REFUSED if refusal else self.outcome,
            reason=refusal.reason.code if refusal else None,
            client_claimed=(without_credentials(self.claimed) or "")[:MAX_NAME] or None,
            client_id=who.client.client_id if who else None,
            method=who.method if who else None,
            alg=who.alg if who else None,
            kid=who.kid if who else None,
            thumbprint=who.thumbprint if who else None,
            jti_digest=who.claim.digest.hex() if who and who.claim else None,
            grant=without_credentials(self.grant),
            scope=without_credentials(self.scope) if refusal else self.scope,
            resource=without_credentials(self.resource) if refusal else self.resource,
            profile=who.client.record.profile if who else None,
            address=self.address,
            expected=_without(_TOKEN, refusal.expected) if refusal else None,
            got=_without(_unwritten(refusal), refusal.got) if refusal else None,
            detail=_without(_TOKEN, refusal.detail)
            if refusal
            else self.note or without_credentials(who.label if who else None),
            observed=" ".join(who.observed) or None if who else None,
            hint=found.hint if found else None,
            also=" ".join(found.also) or None if found else None,
            policies=found.policies if found else None,
            token=self.token,
            by=self.by,
            subject=self.subject,
            milliseconds=round((time.perf_counter() - self.started) * 1000, 3),
        )


def without_credentials(text: str | None) -> str | None:
    """What a caller sent, as it may be written down."""
    return _without(_CREDENTIAL, text)


def _without(unwritten: re.Pattern[str], text: str | None) -> str | None:
    # Cut last: of a secret that begins before the end, the rest would no longer look like one.
    return unwritten.sub(_hint, text)[:MAX_SHOWN] if text else None


def _short(text: str | None) -> str | None:
    return text[:MAX_SHOWN] if text else None


def _unwritten(refusal: Rejected) -> re.Pattern[str]:
    # A kid often is a thumbprint, which looks like a secret, and is what the operator wants to see.
    return _TOKEN if refusal.reason is Reason.KEY_UNKNOWN else _CREDENTIAL


def _hint(found: re.Match[str]) -> str:
    # Eight characters tell an operator which of two long names it was, and nobody the rest of a secret.
    return f"{found[0][:8]}...({len(found[0])} characters)"
