"""POST /introspect (RFC 7662, RFC 9701): an API asks whether a token is active, and gets the claims meant for it."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

from affiant.errors import Rejected, StoreError
from affiant.errors.reasons import Reason
from affiant.oauth import introspection
from affiant.oauth.parameters.scope import is_covered
from affiant.server.client_auth.endpoint import ClientEndpoint
from affiant.server.client_auth.ladder import Authenticator
from affiant.server.registry.directory import Directory
from affiant.server.request import http
from affiant.server.request.caller import Caller
from affiant.server.request.description import Description
from affiant.server.request.endpoint import Context, required
from affiant.server.request.notes import Request
from affiant.server.token import active, descriptions
from affiant.server.token.active import ActiveToken
from affiant.storage.ports import Revocations
from affiant.storage.records import Api

_INACTIVE = {"active": False}
_STANDARD = ("client_id", "exp", "iat", "nbf", "sub", "iss", "jti", "cnf", "client_key")
# With `parents` and the others, a guard that keeps the answer finds the token in the feed of revocations.
_CLAIMS = (*_STANDARD, "rule", "src", "act", "task", "sub_profile", "parents")
_MEDIA_TYPE = introspection.MEDIA_TYPE.encode("ascii")


class IntrospectionEndpoint(ClientEndpoint):
    """Introspects access tokens for APIs."""

    name = "introspect"
    description: ClassVar[Description] = descriptions.INTROSPECTION

    def __init__(
        self, context: Context, authenticator: Authenticator, *, directory: Directory, revocations: Revocations
    ) -> None:
        super().__init__(context, authenticator)
        self._directory = directory
        self._revocations = revocations

    async def road(self, request: Request) -> http.Answer:
        notes = request.notes
        notes.outcome = "introspected"
        as_jwt = introspection.wants_jwt(http.header(request.scope, b"accept"))
        notes.challenges = not as_jwt
        form = await self.read_form(request)
        caller = await self.authenticate(form, request)
        # token_type_hint is not read: only access tokens are introspected (RFC 7662 section 2.1).
        token = required(form, "token")
        if not caller.client.introspects:
            raise Rejected(Reason.INTROSPECTION_NOT_ALLOWED)
        await self.check_limits(request)
        members = await self._introspect(token, caller, request)
        body = await self._sign(members, caller, request) if as_jwt else None
        await self.commit(request)
        media_type = _MEDIA_TYPE if as_jwt else http.JSON
        return http.Answer(200, members, [(b"vary", b"Accept")], body, media_type)

    def metadata(self) -> dict[str, Any]:
        # RFC 9701 section 7: answers are signed, never encrypted.
        members = super().metadata()
        with contextlib.suppress(StoreError):  # no key: RFC 8414 section 3.2, an empty member is left out
            members["introspection_signing_alg_values_supported"] = [self._directory.signer.alg]
        return members

    def counts(self, caller: Caller) -> bool:
        # An API may ask for each of its requests; only a client that speaks for no API is limited.
        return not caller.client.introspects

    async def _introspect(self, token: str, caller: Caller, request: Request) -> dict[str, Any]:
        found = active.find(token, self._directory, issuer=self._issuer, now=request.now)
        # RFC 7662 section 2.2: about a token that is invalid, expired or for others, nothing else is disclosed.
        apis = self._apis(found, caller) if found is not None else []
        if found is None or not apis:
            return _INACTIVE
        request.notes.detail = f"jti {found.jti}"
        owner = await self._directory.client(found.client_id)
        if owner is None or not owner.record.enabled or await active.is_revoked(found.claims, self._revocations):
            return _INACTIVE
        return {"active": True, **_members(found, apis), "token_type": "DPoP" if _is_dpop(found) else "Bearer"}

    def _apis(self, found: ActiveToken, caller: Caller) -> list[Api]:
        """Return the APIs that the token is for and that the caller speaks for; a removed API has no tokens."""
        named = [self._directory.api(name) for name in found.audience if name in caller.client.introspects]
        return [api for api in named if api is not None]

    async def _sign(self, members: dict[str, Any], caller: Caller, request: Request) -> bytes:
        signed = await introspection.build(
            members,
            issuer=self._issuer,
            audience=caller.client_id,
            now=request.now,
            signer=self._directory.signer,
        )
        return signed.encode("ascii")


def _members(found: ActiveToken, apis: list[Api]) -> dict[str, Any]:
    """Return what the token says to these APIs: what it says to others is not disclosed (RFC 7662 section 2.2)."""
    claims = found.claims
    members = {name: claims[name] for name in _CLAIMS if name in claims}
    mine = [api.identifier for api in apis]
    members["aud"] = mine if isinstance(claims.get("aud"), list) else mine[0]
    if "scope" in claims:
        known = {name for api in apis for name in api.scopes}
        members["scope"] = " ".join(name for name in str(claims["scope"]).split(" ") if is_covered(name, known))
    if isinstance(details := claims.get("authorization_details"), list):
        types = {name for api in apis for name in api.authorization_details_types}
        members["authorization_details"] = [d for d in details if isinstance(d, dict) and d.get("type") in types]
    # A scope has at least one name (RFC 6749 section 3.3): if none is for these APIs, there is no scope.
    return {name: value for name, value in members.items() if value not in ("", [])}


def _is_dpop(found: ActiveToken) -> bool:
    cnf = found.claims.get("cnf")
    return isinstance(cnf, dict) and "jkt" in cnf
