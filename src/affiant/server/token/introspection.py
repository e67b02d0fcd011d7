"""POST /introspect (RFC 7662, RFC 9701): an API asks whether a token still stands, and hears what is for it alone."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

from affiant.errors import Rejected, StoreError
from affiant.oauth import introspection
from affiant.oauth.parameters.scope import is_covered
from affiant.reasons import Reason
from affiant.server.client_auth.ladder import Authenticated
from affiant.server.registry.directory import Directory
from affiant.server.request import http
from affiant.server.request.described import Described
from affiant.server.request.endpoint import ClientEndpoint, required
from affiant.server.request.visit import Visit
from affiant.server.token import active, described
from affiant.server.token.active import ActiveToken
from affiant.storage.ports import Revocations
from affiant.storage.records import Api

_INACTIVE = {"active": False}
_TOLD = ("client_id", "exp", "iat", "nbf", "sub", "iss", "jti", "cnf", "client_key")
_MEDIA_TYPE = introspection.MEDIA_TYPE.encode("ascii")


class IntrospectionEndpoint(ClientEndpoint):
    """Answers for APIs."""

    described: ClassVar[Described] = described.INTROSPECTION

    def __init__(self, *, directory: Directory, revocations: Revocations, **shared: Any) -> None:
        super().__init__("introspect", **shared)
        self._directory = directory
        self._revocations = revocations

    def metadata(self) -> dict[str, Any]:
        """See Endpoint; and what answers are signed with (RFC 9701 section 7). None is encrypted."""
        told = super().metadata()
        with contextlib.suppress(StoreError):  # no key: RFC 8414 section 3.2, what has no element is left out
            told["introspection_signing_alg_values_supported"] = [self._directory.signer.alg]
        return told

    def counts(self, client: Authenticated) -> bool:
        """See Endpoint: an API may ask for each of its requests; who speaks for none is held like anybody."""
        return not client.client.record.introspects

    async def road(self, visit: Visit, scope: http.Scope, receive: http.Receive) -> http.Answer:
        visit.outcome = "introspected"
        as_jwt = introspection.wants_jwt(http.header(scope, b"accept"))
        visit.challenges = not as_jwt
        form, client = await self.enter(visit, scope, receive)
        token = required(form, "token")
        if not client.client.record.introspects:
            raise Rejected(Reason.INTROSPECTION_NOT_ALLOWED)
        await self.check_limits(visit)
        # token_type_hint is not read: only access tokens are introspected, whatever the hint (section 2.1).
        members = await self._judge(token, client, visit)
        body = await self._sign(members, client, visit) if as_jwt else None
        await self.commit_with(visit, client)
        headers = [(b"x-trace-id", visit.trace_id.encode("ascii")), (b"vary", b"Accept")]
        if body is None:
            return http.Answer(200, members, headers)
        return http.Answer(200, members, headers, body, _MEDIA_TYPE)

    async def _judge(self, token: str, client: Authenticated, visit: Visit) -> dict[str, Any]:
        found = active.find(token, self._directory, issuer=self._issuer, now=visit.now)
        # Section 2.2: of a token that is none, that has ended or that is for others, nothing is told but that.
        asking = self._asking(found, client) if found is not None else []
        if found is None or not asking:
            return _INACTIVE
        visit.note = f"jti {found.jti}"
        owner = await self._directory.client(found.client_id)
        if owner is None or not owner.record.enabled or await active.is_revoked(found.claims, self._revocations):
            return _INACTIVE
        return {"active": True, **_told(found, asking), "token_type": "DPoP" if _is_dpop(found) else "Bearer"}

    def _asking(self, found: ActiveToken, client: Authenticated) -> list[Api]:
        """The APIs that the token is for and that the caller speaks for; one that is removed has no tokens."""
        named = [self._directory.api(name) for name in found.audience if name in client.client.record.introspects]
        return [api for api in named if api is not None]

    async def _sign(self, members: dict[str, Any], client: Authenticated, visit: Visit) -> bytes:
        signed = await introspection.build(
            members,
            issuer=self._issuer,
            audience=client.client.client_id,
            now=visit.now,
            signer=self._directory.signer,
        )
        return signed.encode("ascii")


def _told(found: ActiveToken, asking: list[Api]) -> dict[str, Any]:
    """What the token says to these APIs: what it says to others is not theirs to know (RFC 7662 section 2.2)."""
    claims = found.claims
    told = {name: claims[name] for name in _TOLD if name in claims}
    mine = [api.identifier for api in asking]
    told["aud"] = mine if isinstance(claims.get("aud"), list) else mine[0]
    if "scope" in claims:
        theirs = {name for api in asking for name in api.scopes}
        told["scope"] = " ".join(name for name in str(claims["scope"]).split(" ") if is_covered(name, theirs))
    if isinstance(details := claims.get("authorization_details"), list):
        types = {name for api in asking for name in api.authorization_details_types}
        told["authorization_details"] = [one for one in details if isinstance(one, dict) and one.get("type") in types]
    # A scope has at least one name (RFC 6749 section 3.3): where none is for these APIs, there is no scope.
    return {name: value for name, value in told.items() if value not in ("", [])}


def _is_dpop(found: ActiveToken) -> bool:
    cnf = found.claims.get("cnf")
    return isinstance(cnf, dict) and "jkt" in cnf
