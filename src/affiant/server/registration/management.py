"""GET, PUT and DELETE /register/CLIENT_ID (RFC 7592): a client reads, replaces and deletes its registration."""

from __future__ import annotations

import hmac
from typing import Any

from affiant.errors import Rejected
from affiant.jose.key_set import LeftOut
from affiant.reasons import Reason
from affiant.server.credentials import secrets
from affiant.server.registration import descriptions, metadata, records
from affiant.server.registration.metadata import Metadata
from affiant.server.registration.registrar import Registrar, bearer_token
from affiant.server.registry.clients import Registered
from affiant.server.registry.kinds import is_client_id
from affiant.server.request import http
from affiant.server.request.notes import MAX_SHOWN, Request
from affiant.storage.entries import LONGEST_TOKEN, Entry, Revocation
from affiant.storage.records import Client, NotFound, StoredSecret

_NO_DIGEST = bytes(32)


class ManagementEndpoint(Registrar):
    name = "registration"
    description = descriptions.MANAGE

    async def road(self, request: Request) -> http.Answer:
        http.check_method(request.scope, "GET", "PUT", "DELETE")
        client_id = request.scope["path"].rpartition("/")[2]
        request.notes.claimed = client_id[:MAX_SHOWN]
        text = bearer_token(request.scope, otherwise=Reason.REGISTRATION_ACCESS_TOKEN)
        client = self._admit(await self._find(client_id), text)
        # The holder of this token need not be the client, so the record does not say that the client did it.
        request.notes.by, request.notes.subject = "registration access token", f"client {client_id}"
        self._limits.check_share(client.client_id, self.name, request.now)
        answer = await self._answer_to(request, client, text)
        self._limits.count_share(client.client_id, self.name, request.now)
        return answer

    async def _answer_to(self, request: Request, client: Client, text: str) -> http.Answer:
        if request.scope["method"] == "DELETE":
            await self._delete(request, client)
            return http.Answer(http.NO_CONTENT, {}, body=b"")
        if request.scope["method"] == "GET":
            request.notes.outcome, registered, left_out = "read", Registered(client), tuple[LeftOut, ...]()
            await self.commit(request)
        else:
            members = await self.read(request)
            metadata.check_replacement(members, client.client_id)
            wanted = self.parse(request, members)
            registered, left_out = await self._replace(request, client, members, wanted, text), wanted.left_out
        # The token is not rotated: a client that loses an answer would be locked out for good.
        return self.answer_with(request, registered, text, status=200, left_out=left_out)

    async def _find(self, client_id: str) -> Client | None:
        return await self._store.clients.find(client_id) if is_client_id(client_id) else None

    def _admit(self, client: Client | None, text: str) -> Client:
        """Return the client if the token is its own. Every failure takes the same work and has the same answer."""
        stored = client.registration_token if client is not None else None
        is_its_own = hmac.compare_digest(stored or _NO_DIGEST, self._master_key.digest(text))
        if client is None or stored is None or not is_its_own or not client.enabled:
            raise Rejected(Reason.REGISTRATION_ACCESS_TOKEN, detail=_problem(client, is_its_own=is_its_own))
        if self._policy.is_closed(client):
            raise Rejected(Reason.REGISTRATION_ACCESS_TOKEN, detail="the client has a part in the admin API")
        return client

    async def _replace(
        self, request: Request, client: Client, members: dict[str, Any], wanted: Metadata, text: str
    ) -> Registered:
        now = int(request.now)
        made: list[Registered] = []

        def change(stored: Client) -> Client:
            # Order: judge the stored client in the commit; it may have changed since it was found.
            self._admit(stored, text)
            self._check_secret(stored, members.get(metadata.SECRET), request.now)
            built = records.build(
                stored.client_id,
                wanted,
                records.Bounds.of_client(stored),
                policy=self._policy,
                master_key=self._master_key,
                now=now,
            )
            made.append(records.put(stored, built, wanted, now=now))
            return made[-1].client

        def audit(before: Client, after: Client) -> list[Entry]:
            views = metadata.view(before, request.now), metadata.view(after, request.now)
            return [Entry(request.record().with_change(*views))]

        request.notes.outcome = "replaced"
        try:
            await self._store.clients.update(client.client_id, change, audit=audit)
        except NotFound:
            raise Rejected(Reason.REGISTRATION_ACCESS_TOKEN, detail="deleted by a concurrent request") from None
        return made[-1]

    async def _delete(self, request: Request, client: Client) -> None:
        """Remove the client with its refresh tokens, and revoke its access tokens in the same commit."""

        def audit(before: Client, _: None) -> list[Entry]:
            record = request.record().with_change(metadata.view(before, request.now), None)
            now = int(request.now)
            return [Entry(record, revocations=(Revocation("client", before.client_id, now, now + LONGEST_TOKEN),))]

        request.notes.outcome = "deleted"
        try:
            await self._store.clients.remove(client.client_id, audit=audit)
        except NotFound:
            raise Rejected(Reason.REGISTRATION_ACCESS_TOKEN, detail="deleted by a concurrent request") from None

    def _check_secret(self, client: Client, sent: object, now: float) -> None:
        """Reject a secret that is not the client's own: sending one never changes it (RFC 7592 section 2.2)."""
        if sent is None:
            return
        live = secrets.live(client.secrets, now)
        given = sent if isinstance(sent, str) else ""
        if not any([self._is_secret(client, secret, given) for secret in live]):  # noqa: C419 - all are compared
            raise Rejected(Reason.REGISTRATION_METADATA, expected="client_secret to be the client's own, or left out")

    def _is_secret(self, client: Client, stored: StoredSecret, sent: str) -> bool:
        if stored.sealed is None:
            return hmac.compare_digest(stored.digest or _NO_DIGEST, self._master_key.digest(sent))
        plain = self._master_key.unseal(stored.sealed, purpose=secrets.purpose(client.client_id))
        return hmac.compare_digest(plain, sent.encode())


def _problem(client: Client | None, *, is_its_own: bool) -> str:
    if client is None:
        return "no client has this client_id"
    if client.registration_token is None:
        return "the client did not register itself"
    return "the client is disabled" if is_its_own else "another token"
