"""POST /register (RFC 7591): a client with an initial access token registers itself."""

from __future__ import annotations

import secrets
from typing import Any

from affiant.errors import Rejected
from affiant.jose import base64url
from affiant.reasons import Reason
from affiant.server.registration import descriptions, metadata, records
from affiant.server.registration.metadata import Metadata
from affiant.server.registration.registrar import PATH, Registrar, bearer_token
from affiant.server.registry.clients import Registered
from affiant.server.request import http
from affiant.server.request.notes import Request
from affiant.storage.entries import Entry
from affiant.storage.records import Client, InitialAccessToken, NotFound

_TOKEN_BYTES = 32


class RegistrationEndpoint(Registrar):
    name = PATH
    description = descriptions.REGISTER

    def metadata(self) -> dict[str, Any]:
        return {"registration_endpoint": f"{self._issuer}/{PATH}"}

    async def road(self, request: Request) -> http.Answer:
        request.notes.outcome = "registered"
        http.check_method(request.scope, "POST")
        token = await self._admit(request, bearer_token(request.scope, otherwise=Reason.REGISTRATION_TOKEN))
        members = await self.read(request)
        metadata.check_new(members)
        access_token = base64url.encode(secrets.token_bytes(_TOKEN_BYTES))
        wanted = self.parse(request, members)
        registered = self._build(request, wanted, token, access_token)
        await self._add(request, registered.client, token)
        return self.answer_with(request, registered, access_token, status=201, left_out=wanted.left_out)

    async def _admit(self, request: Request, text: str) -> InitialAccessToken:
        token = await self._store.initial_access_tokens.find(self._master_key.digest(text))
        if token is None:
            raise Rejected(Reason.REGISTRATION_TOKEN, detail="unknown")
        if token.expires_at <= request.now or token.uses < 1:
            detail = "expired" if token.expires_at <= request.now else "used up"
            raise Rejected(Reason.REGISTRATION_TOKEN, detail=f"{token.id}: {detail}")
        request.notes.by = f"initial access token {token.id}"
        return token

    def _build(self, request: Request, wanted: Metadata, token: InitialAccessToken, access_token: str) -> Registered:
        return records.build(
            # Attack: a client that chooses its name can look like another.
            f"client-{secrets.token_hex(12)}",
            wanted,
            records.Bounds.of_token(token),
            policy=self._policy,
            master_key=self._master_key,
            now=int(request.now),
            registration_token=self._master_key.digest(access_token),
            registered_by=token.id,
        )

    async def _add(self, request: Request, client: Client, token: InitialAccessToken) -> None:
        request.notes.subject = f"client {client.client_id}"

        def audit(_: None, after: Client) -> list[Entry]:
            return [Entry(request.record().with_change(None, metadata.view(after, request.now)))]

        try:
            await self._store.clients.add(client, audit=audit, spend=token.id)
        except NotFound:
            raise Rejected(
                Reason.REGISTRATION_TOKEN, detail=f"{token.id}: used up by a concurrent registration"
            ) from None
