"""POST /token: the one road.

read the form → decide (find the grant → authenticate the client → its DPoP proof → may it use the grant? →
grant.authorize → policy) →
issue → claim the jti, write the audit record and the token's state in one commit → answer
"""

from __future__ import annotations

from typing import Any, ClassVar

from affiant.reasons import Reason
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.signers import Signers
from affiant.server.registry.profiles import GUIDE
from affiant.server.request import http
from affiant.server.request.described import Described
from affiant.server.request.endpoint import ClientEndpoint
from affiant.server.request.visit import Visit
from affiant.server.token import described
from affiant.server.token.decision import Decider
from affiant.server.token.issue import issue


class TokenEndpoint(ClientEndpoint):
    """Tokens for assertions."""

    described: ClassVar[Described] = described.TOKEN

    def __init__(self, *, decider: Decider, signers: Signers, master_key: MasterKey, **shared: Any) -> None:
        super().__init__("token", **shared)
        self._decider = decider
        self._signers = signers
        self._master_key = master_key

    def metadata(self) -> dict[str, Any]:
        return {**super().metadata(), **self._decider.metadata()}

    async def road(self, visit: Visit, scope: http.Scope, receive: http.Receive) -> http.Answer:
        form = await http.read_form(scope, receive)
        decision = await self._decider.decide(form, scope, visit)
        await self.check_limits(visit)
        issued = await issue(
            decision.granted,
            decision.authorization,
            decision.client,
            issuer=self._issuer,
            signer=await self._signers.get(decision.granted.line),
            master_key=self._master_key,
            now=visit.now,
            proof=decision.proof,
            certificate=decision.certificate,
        )
        visit.token = issued.jti
        await self.commit_with(visit, decision.client, new_refresh=issued.new_refresh, rotation=issued.rotation)
        return http.Answer(200, issued.response.to_members(), self._headers(visit))

    def _headers(self, visit: Visit) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-trace-id", visit.trace_id.encode("ascii")), *visit.headers]
        if visit.authenticated and visit.authenticated.client.record.profile == GUIDE:
            # RFC 9745, RFC 8288: the profile is a bridge, and says where it leads.
            page = f"{self._issuer}/errors/{Reason.MISPLACED_ASSERTION.code}"
            headers += [(b"deprecation", b"@1767225600"), (b"link", f'<{page}>; rel="deprecation"'.encode("ascii"))]
        return headers
