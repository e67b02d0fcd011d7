"""One request, and the notes that become its audit record."""

from __future__ import annotations

import re
import time
from typing import Final

import msgspec

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import signature_form
from affiant.jose.compact import Unverified
from affiant.oauth.parameters.form import Form
from affiant.server.registry.directory import RegisteredClient
from affiant.server.request.caller import Caller
from affiant.server.request.http import Receive, Scope, no_body
from affiant.storage.entries import AuditOutcome, AuditRecord, JtiClaim, Unrevoked
from affiant.system.identifiers import new_trace_id
from affiant.system.values import Value

REFUSED: Final = "refused"  # the outcome of a refused request
MAX_SHOWN = 256  # characters of any text that a caller chose
# Text that looks like a token, anywhere; and in a parameter that takes no secret, text that looks like one.
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_.-]{16,}")
_CREDENTIAL = re.compile(r"eyJ[A-Za-z0-9_.-]{16,}|[A-Za-z0-9_-]{40,}")
_SHORTEST = 19  # characters of a match


class Evidence(Value, frozen=True):
    """An assertion whose signature did not verify, kept until a search for a known mistake (explain/hints.py)."""

    HIDDEN = frozenset({"client", "unverified", "text"})

    client: RegisteredClient  # STRANGER if the named client does not exist or uses another method
    unverified: Unverified
    text: str

    @property
    def hint(self) -> str | None:
        """The mistake that shows in the form of the signature, without a key."""
        alg = self.unverified.alg
        form = signature_form.find(alg, self.unverified.signature)
        return f"signature.{form} {alg}" if form is not None else None


class Exchanged(Value, frozen=True):
    """The conditions of the commit that come from the token which the request exchanges."""

    claim: JtiClaim | None = None  # of a token that is taken once
    names: tuple[Unrevoked, ...] = ()  # by which it can be revoked


class Notes(msgspec.Struct):
    """The record of a request. Nothing here is proved, except `caller` and `by`."""

    claimed: str | None = None  # the client that the request names
    grant: str | None = None  # None at endpoints without grants
    scope: str | None = None
    resource: str | None = None
    is_read: bool = False  # whether the whole body has arrived
    caller: Caller | None = None
    claim: JtiClaim | None = None  # of the caller, until it is committed
    iat: object = None  # of a verified assertion of the client, which may be no number
    exchanged: Exchanged | None = None
    evidence: Evidence | None = None
    also: tuple[str, ...] = ()  # codes of the other rules that a verified but refused assertion breaks
    policies: str | None = None  # and the policies of the client that would accept it (client_auth/findings.py)
    outcome: AuditOutcome = "issued"
    detail: str | None = None
    token: str | None = None  # jti of the issued token
    issuer: str | None = None  # iss of a platform's token, which may be false
    claims: str | None = None  # see AuditRecord, and so on
    nearest: str | None = None
    parent: str | None = None
    rule: str | None = None  # the rule of an exchanged platform's token
    task: str | None = None
    by: str | None = None  # the proved author of a change, at endpoints whose caller is no client
    client_id: str | None = None  # of a client that proved itself by an access token
    subject: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()  # of the answer, accepted or refused
    signing: float | None = None  # when the issued token began to be made, by the clock of `started`
    decided: float | None = None  # when the record was made, which the commit follows
    challenges: bool = True  # False: a request without authentication gets 400, not 401 (RFC 9701 section 5)

    def read(self, form: Form) -> None:
        """Note what a token request says about itself."""
        self.is_read = True
        self.grant = form.get("grant_type")
        self.claimed = _short(form.get("client_id"))
        self.scope = form.get("scope")
        self.resource = " ".join(form.all("resource") or form.all("audience")) or None

    def admit(self, caller: Caller) -> None:
        """Note the authenticated client."""
        self.caller, self.claim = caller, caller.claim

    def observe(self, reason: Reason) -> None:
        """Note a rule that the authenticated client broke, and that is only observed for it."""
        if self.caller is not None:
            observed = (*self.caller.observed, reason.code)
            self.caller = msgspec.structs.replace(self.caller, observed=observed)


class Request(Value, frozen=True):
    """One HTTP request to an endpoint."""

    HIDDEN = frozenset({"scope", "receive"})

    endpoint: str
    address: str
    now: float  # seconds since the epoch; every rule judges by this instant
    scope: Scope = msgspec.field(default_factory=dict)
    receive: Receive = no_body
    trace_id: str = msgspec.field(default_factory=new_trace_id)
    started: float = msgspec.field(default_factory=time.perf_counter)
    notes: Notes = msgspec.field(default_factory=Notes)

    def record(self, refusal: Rejected | None = None) -> AuditRecord:
        """Build the audit record of the decision."""
        notes, caller = self.notes, self.notes.caller
        notes.decided = time.perf_counter()
        record = AuditRecord(
            at=self.now,
            trace_id=self.trace_id,
            endpoint=self.endpoint,
            outcome=notes.outcome,
            client_claimed=without_credentials(notes.claimed),
            client_id=caller.client_id if caller else notes.client_id,
            method=caller.method if caller else None,
            alg=caller.alg if caller else None,
            kid=caller.kid if caller else None,
            thumbprint=caller.thumbprint if caller else None,
            jti_digest=notes.claim.digest.hex() if notes.claim else None,
            grant=without_credentials(notes.grant),
            scope=notes.scope,
            resource=notes.resource,
            profile=caller.client.profile if caller else None,
            address=self.address,
            detail=notes.detail or without_credentials(caller.label if caller else None),
            observed=" ".join(caller.observed) or None if caller else None,
            token=notes.token,
            rule=(caller.rule if caller else None) or notes.rule,
            issuer=without_credentials(notes.issuer),
            claims=notes.claims,
            nearest=notes.nearest,
            parent=notes.parent,
            task=notes.task,
            by=notes.by,
            subject=notes.subject,
            milliseconds=int((notes.decided - self.started) * 1_000_000) / 1000,
        )
        return record if refusal is None else _refused(record, refusal, notes)


def _refused(record: AuditRecord, refusal: Rejected, notes: Notes) -> AuditRecord:
    evidence = notes.evidence
    return msgspec.structs.replace(
        record,
        outcome=REFUSED,
        reason=refusal.reason.code,
        scope=without_credentials(notes.scope),
        resource=without_credentials(notes.resource),
        expected=_without(_TOKEN, refusal.expected),
        got=_without(_secrets_in(refusal), refusal.got),
        detail=_without(_TOKEN, refusal.detail),
        hint=evidence.hint if evidence else None,
        also=" ".join(notes.also) or None,
        policies=notes.policies,
    )


def without_credentials(text: str | None) -> str | None:
    """Return text that a caller sent, with all that looks like a token or secret cut out of it."""
    return _without(_CREDENTIAL, text)


def _without(secret: re.Pattern[str], text: str | None) -> str | None:
    if not text or len(text) < _SHORTEST:
        return text or None
    # Order: cut to length last. The rest of a secret that is cut first would no longer look like one.
    return secret.sub(_beginning, text)[:MAX_SHOWN]


def _short(text: str | None) -> str | None:
    return text[:MAX_SHOWN] if text else None


def _secrets_in(refusal: Rejected) -> re.Pattern[str]:
    # A kid often is a thumbprint, which looks like a secret; the operator needs to see it.
    return _TOKEN if refusal.reason is Reason.KEY_UNKNOWN else _CREDENTIAL


def _beginning(found: re.Match[str]) -> str:
    # Eight characters distinguish two long names for an operator, and give away too little of a secret.
    return f"{found[0][:8]}...({len(found[0])} characters)"
