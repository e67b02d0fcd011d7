"""What is written down of each decision, while the request is on its way."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from affiant.server.request.identifiers import new_trace_id
from affiant.storage.records import AuditRecord

if TYPE_CHECKING:
    from affiant.errors import Rejected
    from affiant.oauth.form import Form
    from affiant.server.client_auth.ladder import Authenticated


@dataclass(slots=True)
class Visit:
    """One request, as far as it has come."""

    endpoint: str
    address: str
    now: float
    trace_id: str = field(default_factory=new_trace_id)
    started: float = field(default_factory=time.perf_counter)
    claimed: str | None = None
    grant: str | None = None
    scope: str | None = None
    resource: str | None = None
    authenticated: Authenticated | None = None

    def read(self, form: Form) -> None:
        """Note what the request says of itself; none of it is proved."""
        self.grant = _short(form.get("grant_type"))
        self.claimed = _short(form.get("client_id"))
        self.scope = _short(form.get("scope"))
        self.resource = _short(" ".join(form.all("resource")) or None)

    def record(self, refusal: Rejected | None = None) -> AuditRecord:
        """The record of the decision."""
        who = self.authenticated
        return AuditRecord(
            at=self.now,
            trace_id=self.trace_id,
            endpoint=self.endpoint,
            outcome="refused" if refusal else "issued",
            reason=refusal.reason.code if refusal else None,
            client_claimed=self.claimed,
            client_id=who.client.client_id if who else None,
            method=who.method if who else None,
            alg=who.alg if who else None,
            kid=who.kid if who else None,
            thumbprint=who.thumbprint if who else None,
            jti_digest=who.claim.digest.hex() if who and who.claim else None,
            grant=self.grant,
            scope=self.scope,
            resource=self.resource,
            profile=who.client.record.profile if who else None,
            address=self.address,
            expected=_short(refusal.expected) if refusal else None,
            got=_short(refusal.got) if refusal else None,
            detail=_short(refusal.detail) if refusal else who.label if who else None,
            observed=" ".join(who.observed) or None if who else None,
            milliseconds=round((time.perf_counter() - self.started) * 1000, 3),
        )


def _short(text: str | None) -> str | None:
    return text[:256] if text else None
