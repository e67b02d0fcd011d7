"""What a route works with: the parts of the server, and the call that it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from affiant.errors import Rejected, StoreError
from affiant.oauth import names
from affiant.oauth.binding.dpop import Nonces
from affiant.reasons import Reason
from affiant.server.admin import problems, roles
from affiant.server.admin.reads.cursors import Cursors
from affiant.server.admin.reads.turns import Reads
from affiant.server.admin.roles import Principal
from affiant.server.keys.calendar import Calendar
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault
from affiant.server.registry.directory import Directory
from affiant.server.request import notes
from affiant.server.request.certificate import Certificates
from affiant.server.request.limits import Limited, Limits
from affiant.server.settings import Setting
from affiant.storage.entries import Entry
from affiant.storage.ports import Store

if TYPE_CHECKING:  # it loads the token endpoint, which few calls need
    from affiant.server.explain.explainer import Explainer

# Failures that the caller did not cause: the store is unreachable, or other readers have every place.
_UNRECORDED = (Reason.STORE, Reason.ADMIN_BUSY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The parts of one server that the admin API works with.

    Attributes:
        explainer: makes what judges a request dry; few ever ask for it.
        methods: how clients may authenticate.
        settings: what is set, and by what; without secrets.
        certificates: where those come from that tokens are bound to.
        nonces: where DPoP proofs must have one.
        reads: the long reads of this process.
    """

    issuer: str
    store: Store
    master_key: MasterKey = field(repr=False)
    directory: Directory
    explainer: Callable[[], Explainer]
    calendar: Calendar
    vault: Vault
    limits: Limits
    methods: Sequence[str] = names.AUTH_METHODS
    settings: Sequence[Setting] = ()
    certificates: Certificates = field(default_factory=Certificates)
    nonces: Nonces | None = field(default=None, repr=False)
    reads: Reads = field(default_factory=Reads)

    @property
    def identifier(self) -> str:
        """Of the admin API itself."""
        return roles.identifier(self.issuer)

    @property
    def cursors(self) -> Cursors:
        """Where lists go on."""
        return Cursors(self.master_key)


@dataclass(slots=True)
class Call:
    """One request to the admin API.

    Attributes:
        principal: the caller; None until the gate has recognised it.
        request: set when its route was found.
        headers: of the answer; an endpoint adds its own.
    """

    desk: Desk
    visit: notes.Request
    principal: Principal | None = None
    request: Request = field(init=False, repr=False)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def who(self) -> Principal:
        """Who calls."""
        if self.principal is None:
            raise Rejected(Reason.TOKEN_MISSING)
        return self.principal

    @property
    def now(self) -> int:
        """Seconds since the epoch."""
        return int(self.visit.now)

    def admit(self, principal: Principal) -> None:
        """Note who calls."""
        self.principal = principal
        self.visit.notes.by = principal.name

    async def refuse(self, error: Exception) -> Response:
        """The answer to what may not be, or cannot; once it is written down."""
        refusal = problems.refusal_of(error, self.visit)
        if refusal.reason not in _UNRECORDED:
            try:
                refusal = await self._record(refusal)
            except StoreError as failed:
                refusal = problems.refusal_of(failed, self.visit)
        nonces = self.desk.nonces if refusal.reason is Reason.DPOP_NONCE else None
        nonce = nonces.current(self.visit.now) if nonces is not None else None
        return problems.build(refusal, self.visit, issuer=self.desk.issuer, nonce=nonce)

    async def _record(self, refusal: Rejected) -> Rejected:
        # Who sits at the data folder mistypes names as they please.
        if isinstance(refusal, Limited) or (self.principal is not None and self.principal.is_local):
            return refusal
        try:
            self.desk.limits.check_failures(self.visit)
        except Limited as limited:
            return limited
        record = self.visit.record(refusal)
        if self.principal is not None:
            record = msgspec.structs.replace(record, client_id=self.principal.name)
        await self.desk.store.ledger.claim(Entry(record))
        self.desk.limits.count_failure(self.visit)
        return refusal
