"""The subject token of an exchange: an access token of this server, or the token of a trust (RFC 8693 section 2.1)."""

from __future__ import annotations

from typing import Any

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose.claims import text
from affiant.jose.compact import Unverified
from affiant.oauth import assertion, names, revocations
from affiant.oauth.parameters.authorization_details import Details
from affiant.server.client_auth.admission import Admission, Foreign
from affiant.server.client_auth.ladder import Authenticator
from affiant.server.registry.directory import Directory, RegisteredClient
from affiant.server.request.caller import Caller, Ceiling, parents_of, profile_of
from affiant.server.request.notes import Exchanged, Request
from affiant.server.token import active
from affiant.server.token.active import ActiveToken
from affiant.storage.entries import Unrevoked
from affiant.storage.ports import Revocations
from affiant.system.values import Value

TYPES = (names.ACCESS_TOKEN_TOKEN_TYPE, names.JWT_TOKEN_TYPE)
LAYER = "the subject token"


class SubjectToken(Value, frozen=True):
    """A valid token that this requester may exchange; it says what the new token inherits."""

    HIDDEN = frozenset({"claims"})

    client_id: str  # the client that it was issued to, or that its rule names
    sub: str
    claims: dict[str, Any]  # all of an access token; of a platform's token only those that are read
    parents: tuple[dict[str, Any], ...]
    ceilings: tuple[Ceiling, ...]
    exchanged: Exchanged
    audience: tuple[str, ...] = ()
    details: Details = ()
    source: dict[str, Any] | None = None

    @property
    def is_bound(self) -> bool:
        return self.claims.get("cnf") is not None


class SubjectTokens:
    """Finds subject tokens, and judges who may exchange them."""

    def __init__(self, directory: Directory, authenticator: Authenticator, revocations: Revocations) -> None:
        self._directory = directory
        self._authenticator = authenticator
        self._revocations = revocations

    async def find(self, token: str, kind: str, caller: Caller, request: Request) -> SubjectToken:
        """Return the token if it is valid, and its client or an API that it is for presents it; else raise Rejected.

        Order: the audience is checked before revocation, so that others do not learn whether a token is revoked.
        """
        issuer = self._directory.issuer
        try:
            unverified = assertion.parse(token)
        except Rejected as refusal:
            raise _unacceptable(refusal) from None
        if kind == names.JWT_TOKEN_TYPE and unverified.claims.get("iss") != issuer:
            return await self._admit(unverified, caller, request)
        is_inside = kind == names.TXN_TOKEN_TYPE
        find = active.find_transaction if is_inside else active.find
        found = find(token, self._directory, issuer=issuer, now=request.now)
        if found is None:
            raise Rejected(Reason.EXCHANGE_SUBJECT)
        request.notes.parent = found.jti
        # Of a transaction token, policy.find_apis decides whether the caller belongs to its trust domain.
        if found.client_id != caller.client_id and not is_inside:
            self._check_audience(found.audience, caller)
        if await active.is_revoked(found.claims, self._revocations):
            raise Rejected(Reason.EXCHANGE_REVOKED)
        sub = text(found.claims, "sub") or found.client_id
        return _own(found, await self._client(sub), self._directory)

    async def check_actor(self, token: str, caller: Caller, request: Request) -> None:
        """Raise EXCHANGE_ACTOR unless this is an active access token of the caller for itself, without an actor."""
        found = active.find(token, self._directory, issuer=self._directory.issuer, now=request.now)
        if found is None or found.claims.get("sub") != caller.client_id or found.client_id != caller.client_id:
            raise Rejected(Reason.EXCHANGE_ACTOR)
        if "act" in found.claims or await active.is_revoked(found.claims, self._revocations):
            raise Rejected(Reason.EXCHANGE_ACTOR)

    async def check_delegable(self, subject: SubjectToken, caller: Caller) -> None:
        """Raise Rejected unless each client of the token and its ancestors is enabled and allows the caller to act."""
        ancestors = (text(parent, "client_id") for parent in subject.parents)
        for client_id in dict.fromkeys([subject.sub, subject.client_id, *(name for name in ancestors if name)]):
            client = await self._client(client_id)
            allowed = client.record.delegates_to
            if client_id != caller.client_id and allowed is not None and caller.client_id not in allowed:
                raise Rejected(Reason.EXCHANGE_NOT_DELEGABLE, got=client_id, detail=" ".join(allowed))

    async def _client(self, client_id: str) -> RegisteredClient:
        client = await self._directory.client(client_id)
        if client is None or not client.record.enabled:
            raise Rejected(Reason.EXCHANGE_REVOKED)
        return client

    def _check_audience(self, audience: tuple[str, ...], caller: Caller) -> None:
        # Attack: a thief exchanges a stolen token, even a sender-constrained one. Only APIs that it is for may do that.
        mine = [name for name in audience if name in caller.client.introspects and self._directory.api(name)]
        if not mine:
            raise Rejected(Reason.EXCHANGE_AUDIENCE, got=" ".join(audience)[:256])

    async def _admit(self, unverified: Unverified, caller: Caller, request: Request) -> SubjectToken:
        try:
            found = Foreign.find(unverified)
            if found is None:
                raise Rejected(Reason.EXCHANGE_SUBJECT)
            admission = await self._authenticator.admit(found, request)
        except Rejected as refusal:
            request.notes.also = (refusal.reason.code,)
            raise _unacceptable(refusal) from None
        request.notes.rule = admission.rule.path
        client = await self._client(admission.rule.client_id)
        if client.client_id != caller.client_id:
            self._check_audience(admission.token.audience, caller)
        return _foreign(admission, client, self._directory)


def _own(found: ActiveToken, client: RegisteredClient, directory: Directory) -> SubjectToken:
    claims = found.claims
    scope = tuple(str(claims.get("scope", "")).split())
    details, mine = claims.get("authorization_details"), client.record.authorization_details_types
    entries = [one for one in details if isinstance(one, dict)] if isinstance(details, list) else []
    named = revocations.named(claims)
    return SubjectToken(
        client_id=found.client_id,
        sub=client.client_id,
        claims=claims,
        parents=revocations.lineage(claims),
        ceilings=(Ceiling(LAYER, scope=scope, not_after=found.expires_at), _registered(client, directory)),
        exchanged=Exchanged(names=tuple(Unrevoked(kind, value, since) for (kind, value), since in named.items())),
        audience=found.audience,
        details=tuple(entry for entry in entries if entry.get("type") in mine),
        source=claims.get("src"),
    )


def _foreign(admission: Admission, client: RegisteredClient, directory: Directory) -> SubjectToken:
    # Only may_act and cnf of a foreign token are read, since they restrict it. All else comes from the client.
    claims = {name: value for name, value in admission.token.claims.items() if name in ("may_act", "cnf")}
    named = {"client_id": client.client_id, "rule": admission.rule.path}
    return SubjectToken(
        client_id=client.client_id,
        sub=client.client_id,
        claims={**claims, "sub": client.client_id, "sub_profile": profile_of(client.record)},
        parents=(named, *parents_of(client.record), *admission.parents),
        ceilings=(admission.ceiling, _registered(client, directory)),
        exchanged=Exchanged(claim=admission.claim),
        source=admission.source,
    )


def _registered(client: RegisteredClient, directory: Directory) -> Ceiling:
    """Return the limits of the subject as it is registered today, which may be less than when the token was issued."""
    resources = directory.resources(client)
    return Ceiling(f"client {client.client_id}", scope=client.record.scope, resources=resources)


def _unacceptable(refusal: Rejected) -> Rejected:
    # RFC 8693 section 2.2.2: invalid_request, whatever is wrong with the token.
    reason = refusal.reason
    if reason.value.error != "invalid_client":
        return refusal
    given = (("expected", refusal.expected), ("got", refusal.got))
    told = ", ".join(f"{name} {value}" for name, value in given if value)
    got = f"{reason.value.sentence} ({told})" if told else reason.value.sentence
    return Rejected(Reason.EXCHANGE_SUBJECT, got=got[:256], detail=refusal.detail)
