"""POST /register (RFC 7591): a client registers itself, if it has an initial access token."""

from __future__ import annotations

import secrets
from typing import Any, ClassVar

import msgspec

from affiant.errors import Rejected
from affiant.jose import base64url
from affiant.reasons import Reason
from affiant.server.registration import described, metadata, records
from affiant.server.registration.metadata import Metadata
from affiant.server.registration.registrar import PATH, Registrar, bearer_token
from affiant.server.registry.clients import Registered
from affiant.server.request import http
from affiant.server.request.described import Described
from affiant.server.request.visit import Visit
from affiant.storage.entries import Entry
from affiant.storage.records import Client, InitialAccessToken, NotFound

_TOKEN_BYTES = 32


class RegistrationEndpoint(Registrar):
    """Lets clients in."""

    described: ClassVar[Described] = described.REGISTER

    def __init__(self, **shared: Any) -> None:
        super().__init__(PATH, **shared)

    def metadata(self) -> dict[str, Any]:
        return {"registration_endpoint": f"{self._issuer}/{PATH}"}

    async def road(self, visit: Visit, scope: http.Scope, receive: http.Receive) -> http.Answer:
        visit.outcome = "registered"
        http.check_method(scope, "POST")
        token = await self._admit(visit, bearer_token(scope, otherwise=Reason.REGISTRATION_TOKEN))
        members = await self.read(visit, scope, receive)
        metadata.check_new(members)
        access_token = base64url.encode(secrets.token_bytes(_TOKEN_BYTES))
        wanted = self.parse(visit, members)
        registered = self._build(visit, wanted, token, access_token)
        await self._add(visit, registered.client, token)
        return self.answer_with(visit, registered, access_token, status=201, left_out=wanted.left_out)

    async def _admit(self, visit: Visit, text: str) -> InitialAccessToken:
        token = await self._store.initial_access_tokens.find(self._master_key.digest(text))
        if token is None:
            raise Rejected(Reason.REGISTRATION_TOKEN, detail="unknown")
        if token.expires_at <= visit.now or token.uses < 1:
            detail = "expired" if token.expires_at <= visit.now else "used up"
            raise Rejected(Reason.REGISTRATION_TOKEN, detail=f"{token.id}: {detail}")
        visit.by = f"initial access token {token.id}"
        return token

    def _build(self, visit: Visit, wanted: Metadata, token: InitialAccessToken, access_token: str) -> Registered:
        return records.build(
            # Not of the client's choice, so that it cannot look like another; and not to be guessed.
            f"client-{secrets.token_hex(12)}",
            wanted,
            records.Bounds.of_token(token),
            policy=self._policy,
            master_key=self._master_key,
            now=int(visit.now),
            registration_token=self._master_key.digest(access_token),
            registered_by=token.id,
        )

    async def _add(self, visit: Visit, client: Client, token: InitialAccessToken) -> None:
        visit.subject = f"client {client.client_id}"

        def audit(_: None, after: Client) -> list[Entry]:
            return [Entry(msgspec.structs.replace(visit.record(), after=metadata.describe(after, visit.now)))]

        try:
            await self._store.clients.add(client, audit=audit, spend=token.id)
        except NotFound:
            raise Rejected(Reason.REGISTRATION_TOKEN, detail=f"{token.id}: used up meanwhile") from None
