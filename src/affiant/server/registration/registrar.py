"""What the two endpoints for registrations share: the token and the metadata of a request, and what is answered."""

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
LEFT_OUT = "jwks_left_out"  # a member of ours: which members of a JWK Set were not registered, and why


class Registrar(Endpoint):
    """An endpoint whose caller shows a token of this server, and sends JSON."""

    def __init__(self, context: Context, *, store: Store, master_key: MasterKey, policy: Policy) -> None:
        super().__init__(context)
        self._store = store
        self._master_key = master_key
        self._policy = policy

    async def read(self, request: Request) -> dict[str, Any]:
        """What the client sends."""
        members = await http.read_object(request.scope, request.receive)
        request.notes.is_read = True
        return members

    def parse(self, request: Request, members: dict[str, Any]) -> Metadata:
        """The metadata, where its software statement has the last word (RFC 7591 section 3.1.1).

        Raises:
            Rejected: the statement does not hold, or a member cannot be registered.
        """
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
        """What a client is told of its registration (RFC 7591 section 3.2.1, RFC 7592 section 3)."""
        told = {
            **metadata.render(registered.client, request.now),
            metadata.TOKEN: access_token,
            metadata.URL: f"{self._issuer}/{PATH}/{registered.client.client_id}",
        }
        if registered.client_secret is not None:
            told |= {metadata.SECRET: registered.client_secret, metadata.SECRET_END: 0}
        if left_out:
            told[LEFT_OUT] = list(map(str, left_out))
        return http.Answer(status, told)


def bearer_token(scope: http.Scope, *, otherwise: Reason) -> str:
    """The one bearer token of a request (RFC 6750 section 2.1)."""
    try:
        shown = bearer.parse_authorization(http.header(scope, b"authorization"))
    except Rejected as refusal:
        raise Rejected(otherwise if refusal.reason is Reason.TOKEN_MALFORMED else refusal.reason) from None
    if shown is None:
        raise Rejected(Reason.REGISTRATION_TOKEN_MISSING)
    if shown.scheme != bearer.BEARER:
        raise Rejected(otherwise, detail=f"the scheme {shown.scheme}")
    return shown.token
