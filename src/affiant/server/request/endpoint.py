"""What every endpoint does: read, decide, record, answer; in time, whole, and with JSON.

An endpoint is a subclass with one function, its road. Whatever it decides goes through `commit`; whatever it refuses is
written down here.
"""

from __future__ import annotations

import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from affiant.errors import Rejected, SignerError, StoreError
from affiant.oauth.parameters.form import Form
from affiant.reasons import Reason
from affiant.server.client_auth.ladder import Authenticated, Ladder
from affiant.server.request import http
from affiant.server.request.deadline import REQUEST_SECONDS, Deadline
from affiant.server.request.described import Described
from affiant.server.request.limits import Limited, Limits
from affiant.server.request.refusal import refuse
from affiant.server.request.uses import Uses
from affiant.server.request.visit import REFUSED, Visit
from affiant.storage.entries import Entry, Outcome
from affiant.storage.ports import Ledger

log = logging.getLogger(__name__)

_PROOF_RUNG = 10  # DPoP: what falls here uses up nothing, so that the client can come again with the nonce it was told
_LOST = {
    Outcome.REPLAYED: Reason.REPLAYED,
    Outcome.REFRESH_UNKNOWN: Reason.REFRESH_UNKNOWN,
    Outcome.REFRESH_EXPIRED: Reason.REFRESH_EXPIRED,
    Outcome.REFRESH_REVOKED: Reason.REFRESH_REVOKED,
    Outcome.REFRESH_REUSED: Reason.REFRESH_REUSED,
}


class Endpoint(ABC):
    """An ASGI application for one path; bare, because a framework's request and response cost a fifth of the rate.

    Attributes:
        described: what the reference says of it.
        methods: the HTTP methods that its form may come by.
    """

    described: ClassVar[Described]
    methods: ClassVar[tuple[str, ...]] = ("POST",)
    counts_uses: ClassVar[bool] = True  # whether a credential that authenticates here is in use by that

    def __init__(
        self,
        name: str,
        *,
        issuer: str,
        ledger: Ledger,
        limits: Limits,
        uses: Uses,
        clock: Callable[[], float],
        inquire: Callable[[Visit], None] = lambda _: None,
    ) -> None:
        self._name = name
        self._issuer = issuer
        self._ledger = ledger
        self._limits = limits
        self._uses = uses
        self._clock = clock
        self._inquire = inquire
        self._deadline = Deadline()

    def metadata(self) -> dict[str, Any]:
        """What the server's metadata says of this endpoint (RFC 8414 section 2)."""
        return {}

    @abstractmethod
    async def road(self, visit: Visit, scope: http.Scope, receive: http.Receive) -> http.Answer:
        """What happens to a request, from its first byte to its answer."""

    async def __call__(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        """Answer one request; whatever happens, with JSON."""
        address = scope["client"][0] if scope.get("client") else ""
        visit = Visit(self._name, address, self._clock())
        try:
            with self._deadline:
                answer = await self._answer(visit, scope, receive)
        except TimeoutError:
            answer = refuse(visit, await self._settle_late(visit), issuer=self._issuer)
        except StoreError as error:
            # Fail closed: what cannot be recorded is not issued. RFC 9110 section 10.2.3.
            log.error("trace %s: the store failed: %s", visit.trace_id, error)  # noqa: TRY400 - no traceback: it is known
            answer = refuse(visit, Rejected(Reason.STORE), issuer=self._issuer)
        except Exception:
            log.exception("trace %s: unexpected", visit.trace_id)
            answer = refuse(visit, await self._settle_failure(visit), issuer=self._issuer)
        await http.respond(send, answer)

    def counts(self, client: Authenticated) -> bool:  # noqa: ARG002 - where it is overridden, it looks
        """Whether what this client does here is limited like its tokens."""
        return True

    async def check_limits(self, visit: Visit) -> None:
        """Refuse what comes too often, before anything is written."""
        client = visit.authenticated
        if client is None:
            self._limits.check_failures(visit)
            return
        if self.counts(client):
            self._limits.check_share(client.client.client_id, self._name, visit.now)
        try:
            self._limits.check_failures(visit)
        except Limited:
            if client.claim is not None and await self._ledger.find_claim(client.claim.client_id, client.claim.digest):
                raise

    async def commit(self, visit: Visit, entry: Entry) -> None:
        """Rung 11, and whatever comes of the request with it. Only after this returns may anybody see an answer."""
        outcome = await self._record(visit, entry)
        if outcome in _LOST:
            raise _Recorded(_LOST[outcome])

    async def _answer(self, visit: Visit, scope: http.Scope, receive: http.Receive) -> http.Answer:
        try:
            return await self.road(visit, scope, receive)
        except Rejected as error:
            refusal = error
        except SignerError as error:  # the store is there: unlike its own failure, this one is written down
            log.error("trace %s: nothing is signed: %s", visit.trace_id, error)  # noqa: TRY400 - no traceback: it is known
            refusal = Rejected(Reason.SIGNER, detail=str(error))
        return refuse(visit, await self._settle(visit, refusal), issuer=self._issuer)

    async def _settle(self, visit: Visit, refusal: Rejected) -> Rejected:
        """What the caller is told: the refusal, once it is written down, or that it comes too often.

        Who was authenticated has used up its jti, whatever it was refused for but its proof of possession. Only a limit
        writes nothing and uses nothing up: it is counted, and told of in one record for many (see background.py).
        """
        if isinstance(refusal, _Recorded | Limited):
            return refusal
        client = visit.authenticated
        try:
            await self.check_limits(visit)
        except Limited as limited:
            return limited
        entry = Entry(
            visit.record(refusal),
            claim=client.claim if client and refusal.reason.value.rung != _PROOF_RUNG else None,
            tolerate_repeat=client.tolerates_repeat if client else False,
        )
        outcome = await self._record(visit, entry)
        return Rejected(_LOST[outcome]) if outcome in _LOST else refusal

    async def _settle_failure(self, visit: Visit) -> Rejected:
        """Write down that we failed, so that the operator finds the trace; the jti is not used up."""
        refusal = Rejected(Reason.UNEXPECTED)
        with contextlib.suppress(StoreError):
            await self._ledger.claim(Entry(visit.record(refusal)))
        return refusal

    async def _settle_late(self, visit: Visit) -> Rejected:
        """Who sends slowly is refused like any other; who waited for the store is told to come back.

        What was on its way to the disk may get there: then its jti is used up, and no token was seen by anybody.
        """
        if visit.is_read:
            log.error("trace %s: no answer within %s s", visit.trace_id, REQUEST_SECONDS)
            return Rejected(Reason.STORE)
        try:
            return await self._settle(visit, Rejected(Reason.TOO_SLOW))
        except StoreError:
            return Rejected(Reason.STORE)

    async def _record(self, visit: Visit, entry: Entry) -> Outcome:
        outcome, client = await self._ledger.claim(entry), visit.authenticated
        if client is None:
            # Not every endpoint has clients for callers; whom it let in by something else did not fail.
            if entry.audit.outcome == REFUSED:
                self._limits.count_failure(visit)
                self._inquire(visit)
        elif outcome is Outcome.REPLAYED or await self._is_repeated(client, entry):
            self._limits.count_failure(visit)
            self._inquire(visit)
        else:
            if self.counts(client):
                self._limits.count_share(client.client.client_id, self._name, visit.now)
            if self.counts_uses and client.thumbprint is not None:
                self._uses.count(client.client.client_id, client.thumbprint, visit.now)
        return outcome

    async def _is_repeated(self, client: Authenticated, entry: Entry) -> bool:
        """Whether a request that claims nothing shows what was used before: that must not spend the client's share."""
        if client.claim is None or entry.claim is not None:
            return False
        return await self._ledger.find_claim(client.claim.client_id, client.claim.digest) is not None


class ClientEndpoint(Endpoint):
    """An endpoint whose caller is a client, and proves it in the form that it sends."""

    def __init__(self, name: str, *, ladder: Ladder, **alone: Any) -> None:
        super().__init__(name, **alone)
        self._ladder = ladder

    def metadata(self) -> dict[str, Any]:
        names = {"introspect": "introspection", "revoke": "revocation"}
        name = names.get(self._name, self._name)
        return {f"{name}_endpoint": f"{self._issuer}/{self._name}", **self._ladder.metadata(f"{name}_endpoint")}

    async def enter(self, visit: Visit, scope: http.Scope, receive: http.Receive) -> tuple[Form, Authenticated]:
        """The form, and who sent it."""
        form = await http.read_form(scope, receive, *self.methods)
        visit.is_read = True
        return form, await self._ladder.authenticate(form, scope, visit, proves_key=self.proves_key(form, scope))

    def proves_key(self, form: Form, scope: http.Scope) -> bool:  # noqa: ARG002 - where it is overridden, it looks
        """Whether this request may be signed with a key that is only announced."""
        return False

    async def commit_with(self, visit: Visit, client: Authenticated, **wanted: Any) -> None:
        """Commit what a client asked for, its jti and its record: the fields of an Entry."""
        await self.commit(
            visit, Entry(visit.record(), claim=client.claim, tolerate_repeat=client.tolerates_repeat, **wanted)
        )


def required(form: Form, name: str) -> str:
    """A parameter that this request cannot do without."""
    value = form.get(name)
    if value is None:
        raise Rejected(Reason.MISSING_PARAMETER, expected=name)
    return value


class _Recorded(Rejected):
    """A refusal that the commit itself wrote down."""
