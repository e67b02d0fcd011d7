"""POST /token: `road` and `decide` are all steps of a token request, in order."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, ClassVar

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth import names
from affiant.oauth.parameters.form import Form
from affiant.server.client_auth.endpoint import ClientEndpoint
from affiant.server.client_auth.ladder import Authenticator
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.directory import Directory, RegisteredClient
from affiant.server.registry.profiles import GUIDE
from affiant.server.request import http
from affiant.server.request.caller import Caller
from affiant.server.request.counting.budgets import Budgets
from affiant.server.request.description import Description
from affiant.server.request.endpoint import Context
from affiant.server.request.notes import Request
from affiant.server.token import binding, descriptions, policy
from affiant.server.token.binding import Proofs
from affiant.server.token.grants.base import Grant
from affiant.server.token.issue import Decision, issue
from affiant.server.token.signers import Signers


class TokenEndpoint(ClientEndpoint):
    """Issues access tokens."""

    name = "token"
    takes_platform_tokens: ClassVar[bool] = True
    description: ClassVar[Description] = descriptions.TOKEN

    def __init__(
        self,
        context: Context,
        authenticator: Authenticator,
        *,
        directory: Directory,
        grants: Iterable[Grant],
        proofs: Proofs,
        signers: Signers,
        master_key: MasterKey,
        lifetime: int,
        budgets: Budgets,
    ) -> None:
        super().__init__(context, authenticator)
        self._budgets = budgets
        self._directory = directory
        self._grants = {grant.grant_type: grant for grant in grants}
        self.proofs = proofs
        self._signers = signers
        self._master_key = master_key
        self._lifetime = lifetime  # of an access token, in seconds, unless its client or API has another

    async def road(self, request: Request) -> http.Answer:
        form = await self.read_form(request)
        decision = await self.decide(form, request)
        await self.check_limits(request)
        client = decision.caller.client
        self._budgets.check(client, request)
        signer = await self._signers.get(decision.granted.signing_alg)
        began = time.perf_counter()
        issued = await issue(decision, issuer=self._issuer, signer=signer, master_key=self._master_key, now=request.now)
        request.notes.token, request.notes.signing = issued.jti, began
        # One commit: the jti is claimed, and the audit record and the state of the refresh token are written.
        await self.commit(request, new_refresh=issued.new_refresh, rotation=issued.rotation)
        self._budgets.count(client, request)
        return http.Answer(200, issued.response, self._headers(decision.caller))

    async def decide(self, form: Form, request: Request) -> Decision:
        """Decide what this request gets. Nothing is stored, and no jti is claimed: `explain` also calls this."""
        request.notes.read(form)
        grant = self.find_grant(form)
        caller = await self.authenticate(form, request)
        certificate = binding.find_certificate(caller.registered, caller.certificate)
        proof = self.proofs.verify(caller.registered, request)
        binding.check_holder(caller.confirmation, proof, certificate)
        check_grant(caller.registered, grant, by_rule=caller.rule is not None)
        authorization = await grant.authorize(form, caller, request)
        if authorization.must_bind:
            binding.check(proof, certificate)
        granted = policy.grant(authorization, caller, self._directory, lifetime=self._lifetime, now=request.now)
        request.notes.scope, request.notes.resource = " ".join(granted.scope), " ".join(granted.resource)
        return Decision(caller, authorization, granted, proof, certificate)

    def metadata(self) -> dict[str, Any]:
        types = policy.details_types(self._directory.apis)
        members = {"authorization_details_types_supported": types} if types else {}
        grants = {"grant_types_supported": list(self._grants)}
        return {**super().metadata(), **grants, **self.proofs.metadata(), **members}

    def lifetime(self, client: RegisteredClient | None) -> int:
        """Return the seconds that an access token of this client lives, unless an API has a shorter lifetime."""
        return (client.record.access_token_lifetime if client else None) or self._lifetime

    def find_grant(self, form: Form) -> Grant:
        name = form.get("grant_type")
        if name is None:
            raise Rejected(Reason.MISSING_PARAMETER, expected="grant_type")
        grant = self._grants.get(name)
        if grant is None:
            raise Rejected(Reason.GRANT_UNSUPPORTED, expected=" or ".join(self._grants))
        return grant

    def _headers(self, caller: Caller) -> list[tuple[bytes, bytes]]:
        if caller.client.profile != GUIDE:
            return []
        # RFC 9745, RFC 8288: the profile is for migration, and links to the page about it.
        page = f"{self._issuer}/errors/{Reason.MISPLACED_ASSERTION.code}"
        return [(b"deprecation", b"@1767225600"), (b"link", f'<{page}>; rel="deprecation"'.encode("ascii"))]


def check_grant(client: RegisteredClient, grant: Grant, *, by_rule: bool) -> None:
    """Raise GRANT_NOT_ALLOWED unless the client, or the rule that found it, allows the grant (RFC 6749 section 5.2)."""
    allowed = client.record.grant_types
    if by_rule:
        # RFC 7521 section 4.1: no refresh token for an assertion, which may be in either place of a request.
        allowed = (*(name for name in allowed if name != names.REFRESH_TOKEN), names.JWT_BEARER)
    if grant.grant_type not in allowed:
        raise Rejected(Reason.GRANT_NOT_ALLOWED, expected=" or ".join(allowed))
