"""The base of every endpoint: read, decide, record, answer; in time, completely, and in JSON.

An endpoint is a subclass with one method, `road`: all steps of a request, in order. Every decision goes through
`commit`; every refusal is recorded here, and answered by `refuse`.
"""

from __future__ import annotations

import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from affiant.errors import Rejected, SignerError, StoreError
from affiant.errors.reasons import Reason
from affiant.oauth import bearer, names
from affiant.oauth.parameters.form import Form
from affiant.server.request import http
from affiant.server.request.caller import Caller
from affiant.server.request.counting.uses import Uses
from affiant.server.request.deadline import REQUEST_SECONDS, Deadline
from affiant.server.request.description import Description
from affiant.server.request.limits import Later, Limited, Limits
from affiant.server.request.notes import REFUSED, Request
from affiant.server.request.refused_tokens import RefusedTokens
from affiant.storage.entries import Entry, Outcome, RefreshToken, Revocation, Rotation
from affiant.storage.ports import Ledger

log: logging.Logger = logging.getLogger(__name__)

# From the look-up of the client to its signature, one text for every failure.
SILENT_STEPS = range(5, 8)
_SILENCE = "client authentication failed"
_FIRST_PROVED_STEP = 8
_FIRST_STEP_OF_A_JWT = 3
_PROOF_STEP = 10  # DPoP: such a refusal uses up no jti, so that the client can come again with the nonce of the answer
_UNCOUNTED = (Reason.STORE, Reason.UNEXPECTED)  # by a commit, as all others are
_LOST = {
    Outcome.REPLAYED: Reason.REPLAYED,
    Outcome.REFRESH_UNKNOWN: Reason.REFRESH_UNKNOWN,
    Outcome.REFRESH_EXPIRED: Reason.REFRESH_EXPIRED,
    Outcome.REFRESH_REVOKED: Reason.REFRESH_REVOKED,
    Outcome.REFRESH_REUSED: Reason.REFRESH_REUSED,
    Outcome.SUBJECT_REPLAYED: Reason.EXCHANGE_REPLAYED,
    Outcome.SUBJECT_REVOKED: Reason.EXCHANGE_REVOKED,
}


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one server that its endpoints share."""

    issuer: str
    ledger: Ledger
    limits: Limits
    uses: Uses
    clock: Callable[[], float]
    refused_tokens: RefusedTokens = field(default_factory=RefusedTokens)
    inquire: Callable[[Request], None] = lambda _: None  # takes refused requests, to search for a known mistake
    # Counts a decision for the history: the request, the code of its reason if it is refused, and the used credential.
    tally: Callable[[Request, str | None, str | None], None] = lambda *_: None


class Recorder:
    """Record the outcome of the requests to an endpoint, and answer every failure in JSON."""

    name: ClassVar[str]  # in the audit log
    counts_uses: ClassVar[bool] = True  # whether authenticating here counts as a use of the credential

    def __init__(self, context: Context) -> None:
        self._issuer = context.issuer
        self._ledger = context.ledger
        self._limits = context.limits
        self._uses = context.uses
        self._clock = context.clock
        self._inquire = context.inquire
        self._tally = context.tally
        self._refused_tokens = context.refused_tokens
        self._deadline = Deadline()

    def begin(self, scope: http.Scope, receive: http.Receive) -> Request:
        address = scope["client"][0] if scope.get("client") else ""
        return Request(self.name, address, self._clock(), scope, receive)

    def send(self, request: Request, answer: http.Answer, send: http.Send) -> Awaitable[None]:
        also = (*request.notes.headers, (b"x-trace-id", request.trace_id.encode("ascii")))
        return http.respond(send, answer, also)

    async def fail(self, request: Request, error: Exception) -> http.Answer:
        """Record a failure, and build its answer; 503 if it cannot be recorded."""
        try:
            refusal = await self._settle_error(request, error)
        except StoreError as failed:
            # Fail closed: a decision that cannot be recorded issues nothing. RFC 9110 section 10.2.3.
            log.error("trace %s: the store failed: %s", request.trace_id, failed)  # noqa: TRY400 - no traceback: it is known
            refusal = Rejected(Reason.STORE)
        if isinstance(refusal, Limited) or refusal.reason in _UNCOUNTED:
            request.notes.decided = None  # its commit, if there was one, has failed
            self._tally(request, refusal.reason.code, None)
        return self.refuse(request, refusal)

    def counts(self, caller: Caller) -> bool:  # noqa: ARG002 - for overrides
        """Whether requests of this client are limited like its token requests."""
        return True

    async def check_limits(self, request: Request) -> None:
        """Raise Limited for too many requests, before anything is written.

        A caller is limited by its own share; a proof that was used before counts as none.
        """
        caller, claim = request.notes.caller, request.notes.claim
        if caller is None:
            self._limits.check_failures(request)
            return
        if self.counts(caller):
            self._limits.check_share(caller.client_id, self.name, request.now)
        try:
            self._limits.check_failures(request)
        except Limited:
            if claim is not None and await self._ledger.find_claim(claim.client_id, claim.digest):
                raise

    async def commit(
        self,
        request: Request,
        *,
        new_refresh: RefreshToken | None = None,
        rotation: Rotation | None = None,
        revocations: tuple[Revocation, ...] = (),
        revoke_family: str | None = None,
    ) -> None:
        """Step 11: claim the jti, and write the record and all that was decided in one commit.

        If the token that the request exchanges was revoked by then, only a refusal is written.

        Only after this returns may the caller get an answer. A jti or refresh token that was used before raises
        Rejected; the commit has then recorded the refusal.
        """
        caller, exchanged = request.notes.caller, request.notes.exchanged
        entry = Entry(
            request.record(),
            claim=request.notes.claim,
            tolerate_repeat=caller.tolerates_repeat if caller else False,
            subject_claim=exchanged.claim if exchanged else None,
            unless_revoked=exchanged.names if exchanged else (),
            new_refresh=new_refresh,
            rotation=rotation,
            revocations=revocations,
            revoke_family=revoke_family,
        )
        outcome = await self._ledger.claim(entry)
        self._count(request, entry, outcome, is_repeated=outcome is Outcome.REPLAYED)
        if outcome is not Outcome.FIRST and outcome in _LOST:
            raise _Recorded(_LOST[outcome])

    def refuse(self, request: Request, refusal: Rejected) -> http.Answer:
        """Build the answer to a refused request. Steps 5 to 7 have one answer for every reason."""
        row = refusal.reason.value
        is_silent = row.step in SILENT_STEPS
        # RFC 7523 section 3.1: an assertion that is the grant is no failed client authentication, but an invalid grant.
        # Before it is read, the request itself is at fault (RFC 7521 section 4.2.1).
        is_read = row.step >= _FIRST_STEP_OF_A_JWT
        is_grant = is_read and request.notes.grant == names.JWT_BEARER and row.error == "invalid_client"
        is_plain = is_grant or (row.status == 401 and not request.notes.challenges)  # noqa: PLR2004
        is_proved = request.notes.caller is not None
        members = {
            "error": "invalid_grant" if is_grant else row.error,
            "error_description": _SILENCE if is_silent else _sentence(refusal, is_proved=is_proved),
            "error_uri": f"{self._issuer}/errors/{'client.authentication_failed' if is_silent else row.code}",
            "trace_id": request.trace_id,
        }
        headers = () if is_plain else _headers(refusal, self._issuer)
        return http.Answer(400 if is_plain else row.status, members, headers)

    async def _settle_error(self, request: Request, error: Exception) -> Rejected:
        if isinstance(error, Rejected):
            return await self.settle(request, error)
        if isinstance(error, SignerError):  # recorded, unlike a failure of the store
            log.error("trace %s: nothing is signed: %s", request.trace_id, error)
            return await self.settle(request, Rejected(Reason.SIGNER, detail=str(error)))
        if isinstance(error, StoreError):
            raise error
        if not isinstance(error, TimeoutError):
            return await self._settle_unexpected(request, error)
        if not request.notes.is_read:  # a slow sender is refused like any other
            return await self.settle(request, Rejected(Reason.TOO_SLOW))
        # A commit that was on its way may still succeed: then the jti is used up, and its token was never sent.
        log.error("trace %s: no answer within %s s", request.trace_id, REQUEST_SECONDS)
        return Rejected(Reason.STORE)

    async def _settle_unexpected(self, request: Request, error: Exception) -> Rejected:
        """Record our own failure, so that the operator finds the trace; the jti is not used up."""
        log.error("trace %s: unexpected", request.trace_id, exc_info=error)
        refusal = Rejected(Reason.UNEXPECTED)
        with contextlib.suppress(StoreError):
            await self._ledger.claim(Entry(request.record(refusal)))
        return refusal

    async def settle(self, request: Request, refusal: Rejected) -> Rejected:
        """Record the refusal, and return the one for the caller: this one, or Limited.

        The request of an authenticated client uses up its jti even if it is refused, except for its DPoP proof. Only a
        limit writes nothing and uses nothing up: it is counted, and recorded once for many (background.py).
        """
        if isinstance(refusal, _Recorded | Limited):
            return refusal
        caller = request.notes.caller
        try:
            await self.check_limits(request)
        except Limited as limited:
            return limited
        entry = Entry(
            request.record(refusal),
            claim=request.notes.claim if refusal.reason.value.step != _PROOF_STEP else None,
            tolerate_repeat=caller.tolerates_repeat if caller else False,
        )
        outcome = await self._ledger.claim(entry)
        is_repeated = outcome is Outcome.REPLAYED or await self._is_repeated(request, entry)
        self._count(request, entry, outcome, is_repeated=is_repeated)
        return Rejected(_LOST[outcome]) if outcome in _LOST else refusal

    def _count(self, request: Request, entry: Entry, outcome: Outcome, *, is_repeated: bool) -> None:
        """Count what was committed: as a failure, or as part of the caller's share; and for the history."""
        caller, used = request.notes.caller, None
        if entry.audit.outcome == REFUSED:
            self._refused_tokens.note(entry.audit)
        if caller is None:
            # Some endpoints admit other callers than clients: a decision there is no failure.
            if entry.audit.outcome == REFUSED:
                self._limits.count_failure(request)
                self._inquire(request)
        elif is_repeated:
            self._limits.count_failure(request)
            self._inquire(request)
        else:
            if self.counts(caller):
                self._limits.count_share(caller.client_id, self.name, request.now)
            if self.counts_uses and caller.credential is not None:
                used = caller.credential
                self._uses.count(caller.client_id, used, request.now)
        self._tally(request, outcome.value if outcome.is_loss else entry.audit.reason, used)

    async def _is_repeated(self, request: Request, entry: Entry) -> bool:
        """Whether a request that claims nothing shows a used jti: it must not spend the share of the client."""
        claim = request.notes.claim
        if claim is None or entry.claim is not None:
            return False
        return await self._ledger.find_claim(claim.client_id, claim.digest) is not None


class Endpoint(Recorder, ABC):
    """An ASGI application for one path; without a framework, whose request and response cost a fifth of the rate."""

    description: ClassVar[Description]

    def metadata(self) -> dict[str, Any]:
        """Return what the server's metadata say about this endpoint (RFC 8414 section 2)."""
        return {}

    @abstractmethod
    async def road(self, request: Request) -> http.Answer:
        """Take a request from its first byte to its answer, or raise Rejected."""

    async def __call__(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        request = self.begin(scope, receive)
        try:
            with self._deadline:
                try:
                    answer = await self.road(request)
                except (Rejected, SignerError) as error:
                    answer = await self.fail(request, error)  # before the deadline, because it waits for the store
        except Exception as error:  # noqa: BLE001 - every failure is recorded and answered
            answer = await self.fail(request, error)
        await self.send(request, answer, send)


def required(form: Form, name: str) -> str:
    """Return a parameter; raise MISSING_PARAMETER without it."""
    value = form.get(name)
    if value is None:
        raise Rejected(Reason.MISSING_PARAMETER, expected=name)
    return value


class _Recorded(Rejected):
    """A refusal that the commit itself has recorded."""


def _sentence(refusal: Rejected, *, is_proved: bool) -> str:
    row = refusal.reason.value
    sentence = row.sentence
    if refusal.expected:
        sentence += f"; expected {refusal.expected}"
    # Attack: what a stranger sent is not repeated; it could be any text.
    if refusal.got and (is_proved or row.step >= _FIRST_PROVED_STEP):
        sentence += f"; got {refusal.got}"
    return http.speakable(sentence)


def remedy_headers(refusal: Rejected) -> list[tuple[bytes, bytes]]:
    """Return the header that says how or when the request may succeed."""
    if refusal.reason is Reason.METHOD:
        return [(b"allow", refusal.expected.encode("ascii"))]
    if isinstance(refusal, Later):
        return [(b"retry-after", b"%d" % refusal.retry_after)]
    if refusal.reason.value.status == 503:  # noqa: PLR2004 - RFC 9110 section 15.6.4
        return [(b"retry-after", b"1")]
    return []


def _headers(refusal: Rejected, issuer: str) -> list[tuple[bytes, bytes]]:
    if headers := remedy_headers(refusal):
        return headers
    reason = refusal.reason
    if reason.value.error == "invalid_token":
        # RFC 6750 section 3.1: a caller without credentials is asked for them, and gets no error.
        error = None if reason is Reason.REGISTRATION_TOKEN_MISSING else reason.value.error
        return [(b"www-authenticate", bearer.challenge(realm=issuer, error=error).encode("ascii"))]
    if reason.value.status == 401:  # noqa: PLR2004 - RFC 9110 section 15.5.2
        return [(b"www-authenticate", f'Basic realm="{issuer}"'.encode("ascii"))]
    return []
