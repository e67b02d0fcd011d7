"""GET, PUT and DELETE /register/CLIENT_ID (RFC 7592): a client reads, replaces and deletes what it registered."""

from __future__ import annotations

import hmac
from typing import Any

import msgspec

from affiant.errors import Rejected
from affiant.jose.key_set import LeftOut
from affiant.reasons import Reason
from affiant.server.credentials import secrets
from affiant.server.registration import description, metadata, records
from affiant.server.registration.metadata import Metadata
from affiant.server.registration.registrar import Registrar, bearer_token
from affiant.server.registry.clients import Registered
from affiant.server.registry.kinds import is_client_id
from affiant.server.request import http
from affiant.server.request.notes import MAX_SHOWN, Request
from affiant.storage.entries import LONGEST_TOKEN, Entry, Revocation
from affiant.storage.records import Client, NotFound, StoredSecret

_NOBODY = bytes(32)


class ManagementEndpoint(Registrar):
    """Lets clients look after their registrations."""

    name = "registration"
    description = description.MANAGE

    async def road(self, request: Request) -> http.Answer:
        http.check_method(request.scope, "GET", "PUT", "DELETE")
        client_id = request.scope["path"].rpartition("/")[2]
        request.notes.claimed = client_id[:MAX_SHOWN]
        text = bearer_token(request.scope, otherwise=Reason.REGISTRATION_ACCESS_TOKEN)
        client = self._admit(await self._find(client_id), text)
        # Not the client itself: whoever has this token. It tells who is meant, and is written down as that.
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
        # The token is not changed by being used: who loses an answer would be shut out for good.
        return self.answer_with(request, registered, text, status=200, left_out=left_out)

    async def _find(self, client_id: str) -> Client | None:
        return await self._store.clients.find(client_id) if is_client_id(client_id) else None

    def _admit(self, client: Client | None, text: str) -> Client:
        """The client, when the token is its own; the same answer and the same work for every way to fail."""
        stored = client.registration_token if client is not None else None
        is_its_own = hmac.compare_digest(stored or _NOBODY, self._master_key.digest(text))
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

        def change(standing: Client) -> Client:
            # Judged as it stands in this very commit: it may have been changed since it was found.
            self._admit(standing, text)
            self._check_secret(standing, members.get(metadata.SECRET), request.now)
            built = records.build(
                standing.client_id,
                wanted,
                records.Bounds.of_client(standing),
                policy=self._policy,
                master_key=self._master_key,
                now=now,
            )
            made.append(records.put(standing, built, wanted, now=now))
            return made[-1].client

        def audit(before: Client, after: Client) -> list[Entry]:
            was, is_now = metadata.describe(before, request.now), metadata.describe(after, request.now)
            return [Entry(msgspec.structs.replace(request.record(), before=was, after=is_now))]

        request.notes.outcome = "replaced"
        try:
            await self._store.clients.update(client.client_id, change, audit=audit)
        except NotFound:
            raise Rejected(Reason.REGISTRATION_ACCESS_TOKEN, detail="deleted meanwhile") from None
        return made[-1]

    async def _delete(self, request: Request, client: Client) -> None:
        """Remove it with its refresh tokens, and end its access tokens in the same commit."""

        def audit(before: Client, _: None) -> list[Entry]:
            record = msgspec.structs.replace(request.record(), before=metadata.describe(before, request.now))
            now = int(request.now)
            return [Entry(record, revocations=(Revocation("client", before.client_id, now, now + LONGEST_TOKEN),))]

        request.notes.outcome = "deleted"
        try:
            await self._store.clients.remove(client.client_id, audit=audit)
        except NotFound:
            raise Rejected(Reason.REGISTRATION_ACCESS_TOKEN, detail="deleted meanwhile") from None

    def _check_secret(self, standing: Client, sent: object, now: float) -> None:
        """Let a secret pass that is the client's own; it never becomes another one by being sent (section 2.2)."""
        if sent is None:
            return
        live = [secret for secret in standing.secrets if secret.expires_at is None or secret.expires_at > now]
        given = sent if isinstance(sent, str) else ""
        if not any([self._is_secret(standing, secret, given) for secret in live]):  # noqa: C419 - all are compared
            raise Rejected(Reason.REGISTRATION_METADATA, expected="client_secret to be the client's own, or left out")

    def _is_secret(self, standing: Client, stored: StoredSecret, sent: str) -> bool:
        if stored.sealed is None:
            return hmac.compare_digest(stored.digest or _NOBODY, self._master_key.digest(sent))
        plain = self._master_key.unseal(stored.sealed, purpose=secrets.purpose(standing.client_id))
        return hmac.compare_digest(plain, sent.encode())


def _problem(client: Client | None, *, is_its_own: bool) -> str:
    if client is None:
        return "no client has this client_id"
    if client.registration_token is None:
        return "the client did not register itself"
    return "the client is disabled" if is_its_own else "another token"
