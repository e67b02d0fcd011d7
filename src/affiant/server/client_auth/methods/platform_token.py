"""federated_jwt: a trust verifies the token that a platform gave a workload, and one of its rules names the client.

It comes as `client_assertion` or, with the grant jwt-bearer, as `assertion` (RFC 7523 section 2). A JWT-SVID has an
assertion type of its own (draft-ietf-oauth-spiffe-client-auth).
"""

from __future__ import annotations

from typing import ClassVar

from affiant.errors import Rejected
from affiant.oauth import names
from affiant.server.client_auth.admission import Admission, Foreign
from affiant.server.client_auth.method import Judging, Method, Sent
from affiant.server.registry.directory import RegisteredClient
from affiant.server.registry.federation.known import Federation
from affiant.server.request.caller import Caller
from affiant.system.values import Value


class PlatformToken(Value, frozen=True):
    """The token of another issuer in place of a client's own credentials."""

    token: Foreign

    async def identify(self, federation: Federation, judging: Judging) -> Admitted:
        return Admitted(await self.token.admit(federation, judging))


class Admitted(Value, frozen=True):
    """A token that a trust took, and the client that its rule names."""

    methods: ClassVar[tuple[str, ...]] = names.AUTH_METHODS
    name: ClassVar[str] = names.FEDERATED_JWT
    profile: ClassVar[str | None] = None

    admission: Admission

    @property
    def client_id(self) -> str:
        return self.admission.rule.client_id

    async def judge(self, client: RegisteredClient, judging: Judging) -> Caller:  # noqa: ARG002
        # Order: Authenticator has checked that the client exists, is enabled and may use this method.
        found = self.admission
        return Caller(
            client,
            names.FEDERATED_JWT,
            claim=found.claim,
            alg=str(found.verified.header["alg"]),
            kid=found.verified.key.kid,
            observed=found.observed,
            rule=found.rule.path,
            ceilings=(found.ceiling,),
            source=found.source,
            confirmation=found.token.claims.get("cnf"),
            foreign=found.parents,
        )

    def refused(self, refusal: Rejected) -> Rejected:
        return refusal


def _shows(sent: Sent) -> PlatformToken | None:
    if sent.grant == names.CLIENT_CREDENTIALS and sent.form.get("assertion") is not None:
        return None
    text = sent.find_assertion()
    if text is None:
        return None
    is_svid = sent.form.get("client_assertion_type") == names.JWT_SPIFFE_ASSERTION_TYPE
    token = Foreign.find(sent.parse(text), client_id=sent.form.get("client_id"), is_svid=is_svid)
    return PlatformToken(token) if token is not None else None


METHOD = Method(
    places={names.FEDERATED_JWT: "federated_jwt (the token of a trusted issuer, in client_assertion or assertion)"},
    marks=lambda _: (),  # those of client_assertion
    shows=_shows,
    code=lambda _, __: 'form.pop("client_secret", None); headers.pop("Authorization", None)',
)
