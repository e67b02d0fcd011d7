"""POST /register (RFC 7591), and GET, PUT and DELETE /register/CLIENT_ID (RFC 7592).

A caller with an initial access token registers a client; the registration access token of that client reads, replaces
and deletes the registration.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from typing import Any, ClassVar

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import base64url
from affiant.jose.key_set import LeftOut, describe
from affiant.oauth import bearer
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import client_secret_purpose
from affiant.server.registration import descriptions, metadata, records, software_statement
from affiant.server.registration.metadata import Metadata
from affiant.server.registration.records import Bounds, Policy
from affiant.server.registry.clients import Registered
from affiant.server.registry.credentials import secrets as client_secrets
from affiant.server.registry.federation import rules
from affiant.server.registry.kinds import is_client_id
from affiant.server.request import http
from affiant.server.request.description import Description
from affiant.server.request.endpoint import Context, Endpoint
from affiant.server.request.notes import MAX_SHOWN, Request
from affiant.storage.entries import LONGEST_TOKEN, Entry, Revocation
from affiant.storage.ports import Audit, Store
from affiant.storage.records import Client, InitialAccessToken, NotFound, Rule, StoredSecret

PATH = "register"
_TOKEN_BYTES = 32
_NO_DIGEST = bytes(32)


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
        self, request: Request, registered: Registered, access_token: str, *, status: int, left_out: Sequence[LeftOut]
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
            members[metadata.LEFT_OUT] = list(map(str, left_out))
        return http.Answer(status, members)


class RegistrationEndpoint(Registrar):
    name = PATH
    description: ClassVar[Description] = descriptions.REGISTER

    def metadata(self) -> dict[str, Any]:
        return {"registration_endpoint": f"{self._issuer}/{PATH}"}

    async def road(self, request: Request) -> http.Answer:
        request.notes.outcome = "registered"
        http.check_method(request.scope, "POST")
        token = await self._admit(request, _bearer_token(request.scope, otherwise=Reason.REGISTRATION_TOKEN))
        members = await self.read(request)
        metadata.check_new(members)
        access_token = base64url.encode(secrets.token_bytes(_TOKEN_BYTES))
        wanted = self.parse(request, members)
        registered = self._build(request, wanted, token, access_token)
        client = registered.client
        request.notes.subject = f"client {client.client_id}"
        try:
            await self._store.clients.add(client, audit=_audit(request), spend=token.id)
        except NotFound:
            detail = f"{token.id}: used up by a concurrent registration"
            raise Rejected(Reason.REGISTRATION_TOKEN, detail=detail) from None
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
            Bounds.of_token(token),
            policy=self._policy,
            master_key=self._master_key,
            now=int(request.now),
            registration_token=self._master_key.digest(access_token),
            registered_by=token.id,
        )


class ManagementEndpoint(Registrar):
    name = "registration"
    description: ClassVar[Description] = descriptions.MANAGE

    async def road(self, request: Request) -> http.Answer:
        http.check_method(request.scope, "GET", "PUT", "DELETE")
        client_id = request.scope["path"].rpartition("/")[2]
        request.notes.claimed = client_id[:MAX_SHOWN]
        text = _bearer_token(request.scope, otherwise=Reason.REGISTRATION_ACCESS_TOKEN)
        client = self._admit(await self._find(client_id), text)
        # The holder of this token need not be the client, so the record does not say that the client did it.
        request.notes.by, request.notes.subject = "registration access token", f"client {client_id}"
        self._limits.check_share(client.client_id, self.name, request.now)
        try:
            answer = await self._answer_to(request, client, text)
        except NotFound:
            raise Rejected(Reason.REGISTRATION_ACCESS_TOKEN, detail="deleted by a concurrent request") from None
        self._limits.count_share(client.client_id, self.name, request.now)
        return answer

    async def _answer_to(self, request: Request, client: Client, text: str) -> http.Answer:
        registered, left_out = Registered(client), tuple[LeftOut, ...]()
        if request.scope["method"] == "DELETE":
            request.notes.outcome = "deleted"
            await self._store.clients.remove(client.client_id, audit=_audit(request))
            return http.Answer(http.NO_CONTENT, {}, body=b"")
        if request.scope["method"] == "GET":
            request.notes.outcome = "read"
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
        now, made = int(request.now), list[Registered]()

        def change(stored: Client) -> Client:
            # Order: judge the stored client in the commit; it may have changed since it was found.
            self._admit(stored, text)
            self._check_secret(stored, members.get(metadata.SECRET), request.now)
            built = records.build(
                stored.client_id,
                wanted,
                Bounds.of_client(stored),
                policy=self._policy,
                master_key=self._master_key,
                now=now,
            )
            made.append(records.put(stored, built, wanted, now=now))
            return made[-1].client

        request.notes.outcome = "replaced"
        await self._store.clients.update(client.client_id, change, audit=_audit(request))
        return made[-1]

    def _check_secret(self, client: Client, sent: object, now: float) -> None:
        """Reject a secret that is not the client's own: sending one never changes it (RFC 7592 section 2.2)."""
        if sent is None:
            return
        live = client_secrets.live(client.secrets, now)
        given = sent if isinstance(sent, str) else ""
        if not any([self._is_secret(client, secret, given) for secret in live]):  # noqa: C419 - all are compared
            raise Rejected(Reason.REGISTRATION_METADATA, expected="client_secret to be the client's own, or left out")

    def _is_secret(self, client: Client, stored: StoredSecret, sent: str) -> bool:
        if stored.sealed is None:
            return hmac.compare_digest(stored.digest or _NO_DIGEST, self._master_key.digest(sent))
        plain = self._master_key.unseal(stored.sealed, purpose=client_secret_purpose(client.client_id))
        return hmac.compare_digest(plain, sent.encode())


def _audit(request: Request) -> Audit:
    """Return what makes the audit entry of a change; the access tokens of a deleted client are revoked with it."""
    now = int(request.now)

    def entries(before: Client | Rule | None, after: Client | None) -> list[Entry]:
        if isinstance(before, Rule):
            return [rules.removal(before, request.record(), now=now)]
        was, is_now = (metadata.view(client, now) if client is not None else None for client in (before, after))
        record = request.record().with_change(was, is_now)
        if before is None or after is not None:
            return [Entry(record)]
        return [Entry(record, revocations=(Revocation("client", before.client_id, now, now + LONGEST_TOKEN),))]

    return entries


def _bearer_token(scope: http.Scope, *, otherwise: Reason) -> str:
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


def _problem(client: Client | None, *, is_its_own: bool) -> str:
    if client is None:
        return "no client has this client_id"
    if client.registration_token is None:
        return "the client did not register itself"
    return "the client is disabled" if is_its_own else "another token"
