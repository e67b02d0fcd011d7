"""The parts that both registration endpoints share: the bearer token, the metadata of a request, and the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from affiant.errors import Rejected
from affiant.jose.key_set import LeftOut, describe
from affiant.oauth import bearer
from affiant.reasons import Reason
from affiant.server.keys.master_key import MasterKey
from affiant.server.registration import metadata, software_statement
from affiant.server.registration.metadata import Metadata
from affiant.server.registration.records import Policy
from affiant.server.registry.clients import Registered
from affiant.server.request import http
from affiant.server.request.endpoint import Context, Endpoint
from affiant.server.request.notes import Request
from affiant.storage.ports import Store

PATH = "register"
LEFT_OUT = "jwks_left_out"  # our own member: the members of a JWK Set that were not registered, and why


class Registrar(Endpoint):
    """An endpoint whose caller sends a token of this server and JSON."""

    def __init__(self, context: Context, *, store: Store, master_key: MasterKey, policy: Policy) -> None:
        super().__init__(context)
        self._store = store
        self._master_key = master_key
        self._policy = policy

    async def read(self, request: Request) -> dict[str, Any]:
        members = await http.read_object(request.scope, request.receive)
        request.notes.is_read = True
        return members

    def parse(self, request: Request, members: dict[str, Any]) -> Metadata:
        """Return the metadata; its software statement takes precedence (RFC 7591 section 3.1.1)."""
        stated = software_statement.apply(members, self._policy.issuers, audience=self._issuer, now=request.now)
        found = metadata.parse(stated)
        request.notes.detail = describe(found.left_out) or None
        return found

    def answer_with(
        self,
        request: Request,
        registered: Registered,
        access_token: str,
        *,
        status: int,
        left_out: Sequence[LeftOut] = (),
    ) -> http.Answer:
        """Return the registration of a client (RFC 7591 section 3.2.1, RFC 7592 section 3)."""
        members = {
            **metadata.render(registered.client, request.now),
            metadata.TOKEN: access_token,
            metadata.URL: f"{self._issuer}/{PATH}/{registered.client.client_id}",
        }
        if registered.client_secret is not None:
            members |= {metadata.SECRET: registered.client_secret, metadata.SECRET_END: 0}
        if left_out:
            members[LEFT_OUT] = list(map(str, left_out))
        return http.Answer(status, members)


def bearer_token(scope: http.Scope, *, otherwise: Reason) -> str:
    """Return the only bearer token of a request (RFC 6750 section 2.1); `otherwise` is for one of another form."""
    try:
        shown = bearer.parse_authorization(http.header(scope, b"authorization"))
    except Rejected as refusal:
        raise Rejected(otherwise if refusal.reason is Reason.TOKEN_MALFORMED else refusal.reason) from None
    if shown is None:
        raise Rejected(Reason.REGISTRATION_TOKEN_MISSING)
    if shown.scheme != bearer.BEARER:
        raise Rejected(otherwise, detail=f"the scheme {shown.scheme}")
    return shown.token
