"""The ladder: the one ordered way in which a client is authenticated, for every endpoint (rungs 2 to 10).

The order is the security: nothing is told about a client before its signature held, and no jti is claimed before
every other rung (a stranger cannot burn one). Rung 11, the claim, is the ledger's and falls with the commit.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from affiant.errors import Rejected
from affiant.jose import compact
from affiant.jose.algorithms import ASYMMETRIC, SYMMETRIC
from affiant.jose.compact import Unverified, Verified
from affiant.jose.keys import VerificationKey
from affiant.oauth import assertion, names
from affiant.oauth.assertion import ClientAssertion
from affiant.oauth.parameters.form import Form
from affiant.reasons import Reason
from affiant.server.client_auth import client_secret, client_secret_jwt, dummy, presented, private_key_jwt, tls_client
from affiant.server.client_auth.findings import Evidence, Findings, judge
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.directory import Directory, RegisteredClient
from affiant.server.registry.profiles import GUIDE
from affiant.server.registry.remote_keys import RemoteKeys
from affiant.server.request import http
from affiant.server.request.certificate import Certificates
from affiant.server.request.visit import MAX_SHOWN, Visit
from affiant.storage.entries import JtiClaim
from affiant.values import Value

_CANDIDATES = {
    names.PRIVATE_KEY_JWT: private_key_jwt.candidates,
    names.CLIENT_SECRET_JWT: client_secret_jwt.candidates,
}
_ALGORITHMS = {names.PRIVATE_KEY_JWT: ASYMMETRIC, names.CLIENT_SECRET_JWT: SYMMETRIC}
# Each method with its place in a request, for the operator.
_PLACES = {
    names.PRIVATE_KEY_JWT: "private_key_jwt (client_assertion, signed with the client's key)",
    names.CLIENT_SECRET_JWT: "client_secret_jwt (client_assertion, a MAC by the client's secret)",
    names.CLIENT_SECRET_BASIC: "client_secret_basic (Authorization header)",
    names.CLIENT_SECRET_POST: "client_secret_post (client_secret in the form)",
    names.TLS_CLIENT_AUTH: "tls_client_auth (a certificate of the client, by its name)",
    names.SELF_SIGNED_TLS_CLIENT_AUTH: "self_signed_tls_client_auth (a certificate of the client, by its key)",
}
_ALWAYS = tuple(name for name in names.AUTH_METHODS if name not in names.BY_TLS)


class Authenticated(Value, frozen=True):
    """A client that proved who it is.

    Attributes:
        client: who.
        method: how (RFC 7591 section 2, token_endpoint_auth_method).
        claim: the jti still to be claimed, in the commit of whatever comes of this request.
        tolerates_repeat: a repeated request is recorded, not refused (guide profile with its secret sent along).
        alg: of the assertion.
        kid: the key that verified it.
        thumbprint: of that key (RFC 7638); the id of the secret where there was one; of the certificate (RFC 8705) that
            was known by its name.
        label: the guide's free `sub`, for the log only.
        observed: the codes of what a stricter policy would have refused.
        asked_scope: the claim `scope` of the assertion, read only where that is the grant too (grants/jwt_bearer.py).
        asked_resource: the claim `resource`, likewise.
    """

    client: RegisteredClient
    method: str
    claim: JtiClaim | None = None
    tolerates_repeat: bool = False
    alg: str | None = None
    kid: str | None = None
    thumbprint: str | None = None
    label: str | None = None
    observed: tuple[str, ...] = ()
    asked_scope: object = None
    asked_resource: object = None


class Ladder:
    """Authenticates clients by the one order of steps."""

    def __init__(
        self,
        *,
        directory: Directory,
        master_key: MasterKey,
        certificates: Certificates | None = None,
        methods: tuple[str, ...] = names.AUTH_METHODS,
        remote_keys: RemoteKeys | None = None,
    ) -> None:
        self._directory = directory
        self._master_key = master_key
        self._certificates = certificates or Certificates()
        self._remote_keys = remote_keys or RemoteKeys()
        # In the order in which metadata list them.
        known = (*_ALWAYS, *self._certificates.methods)
        self._methods = tuple(name for name in known if name in methods and directory.demands.allows_method(name))

    @property
    def methods(self) -> tuple[str, ...]:
        """How clients can authenticate at this server."""
        return self._methods

    def metadata(self, endpoint: str) -> dict[str, Any]:
        """What the server's metadata says of how clients authenticate at this endpoint (RFC 8414 section 2)."""
        known = [alg for method in self._methods for alg in _ALGORITHMS.get(method, ())]
        algs = [alg for alg in known if self._directory.demands.allows_algorithm(alg)]
        told: dict[str, Any] = {f"{endpoint}_auth_methods_supported": list(self._methods)}
        if self._certificates.methods:
            told["tls_client_certificate_bound_access_tokens"] = True  # RFC 8705 section 3.3
        # Section 3.2: what has no element is left out; no method needs it then.
        return {**told, f"{endpoint}_auth_signing_alg_values_supported": algs} if algs else told

    async def authenticate(
        self, form: Form, scope: http.Scope, visit: Visit, *, proves_key: bool = False
    ) -> Authenticated:
        """The client of this request; the visit notes whom it names, and who it is once that is proved."""
        visit.certificate = self._certificates.find(scope)
        authorization, has_grant = http.header(scope, b"authorization"), visit.grant is not None
        shown = presented.parse(form, authorization, visit.certificate, has_grant=has_grant)
        if isinstance(shown, presented.Assertion):
            visit.authenticated = await self._by_assertion(shown, visit, proves_key=proves_key)
        elif isinstance(shown, presented.Secret):
            visit.authenticated = await self._by_secret(shown, visit)
        elif isinstance(shown, presented.OverTls):
            visit.authenticated = await self._by_certificate(shown, visit)
        else:
            visit.authenticated = await self._by_guide(shown, visit)
        return visit.authenticated

    async def _by_assertion(self, shown: presented.Assertion, visit: Visit, *, proves_key: bool) -> Authenticated:
        unverified = assertion.parse(shown.text)
        visit.claimed = client_id = assertion.check_names(unverified, client_id=shown.client_id)
        found = await self._directory.client(client_id)
        found = found.proving() if found is not None and proves_key else found
        client, verified = await self._verify(found, unverified, visit, shown.text)
        return _judge(client, verified, shown.text, visit)

    async def _by_secret(self, shown: presented.Secret, visit: Visit) -> Authenticated:
        visit.claimed = shown.client_id[:MAX_SHOWN]
        client = await self._directory.client(shown.client_id)
        # The secret is compared before the client is judged: the same work whoever it is.
        problem = self._problem(client, (shown.method,))
        known = client if problem is None else None
        try:
            secret_id = client_secret.verify(known, shown.secret, master_key=self._master_key, now=visit.now)
        except Rejected as refusal:
            raise (self._refused(problem, client, shown.method) if problem else refusal) from None
        if client is None or problem is not None:  # a secret of nobody never verifies; this keeps the type honest
            raise Rejected(problem or Reason.CLIENT_UNKNOWN)
        return Authenticated(client, shown.method, thumbprint=secret_id)

    async def _by_certificate(self, shown: presented.OverTls, visit: Visit) -> Authenticated:
        visit.claimed = shown.client_id[:MAX_SHOWN]
        client = await self._directory.client(shown.client_id)
        problem = self._problem(client, tls_client.METHODS)
        known = client if problem is None else None
        try:
            if known is not None and known.record.jwks_uri is not None:
                client = known = await self._remote_keys.complete(
                    known, tls_client.wanted(shown.certificate), now=visit.now
                )
            key = tls_client.verify(known, shown.certificate, now=visit.now)
        except Rejected:
            if problem is not None:
                raise self._refused(problem, client, tls_client.SHOWN) from None
            raise
        if client is None or problem is not None:  # a certificate of nobody never fits; this keeps the type honest
            raise Rejected(problem or Reason.CLIENT_UNKNOWN)
        method = client.record.token_endpoint_auth_method
        # Where a key is registered it is revoked by its thumbprint, and its tokens with it.
        name = key.thumbprint if key is not None else shown.certificate.thumbprint
        return Authenticated(
            client,
            method,
            kid=key.kid if key is not None else None,
            thumbprint=name,
            observed=tuple(reason.code for reason in client.observed),
        )

    async def _by_guide(self, shown: presented.Guide, visit: Visit) -> Authenticated:
        try:
            unverified = assertion.parse(shown.text)
            visit.claimed = client_id = assertion.check_names(unverified, client_id=shown.client_id, free_subject=True)
            found = await self._directory.client(client_id)
            client, verified = await self._verify(found, unverified, visit, shown.text, profile=GUIDE)
            if shown.client_id is None:
                raise Rejected(Reason.MISPLACED_ASSERTION, detail="client_id is missing")
        except Rejected as refusal:
            # Until the MAC has held, one answer for all: whether a client has the profile is nobody's business.
            detail = f"{refusal.reason.code} {refusal.detail}".strip()
            raise Rejected(Reason.MISPLACED_ASSERTION, detail=detail) from None
        return _judge(client, verified, shown.text, visit, guide=shown)

    async def _verify(
        self,
        client: RegisteredClient | None,
        unverified: Unverified,
        visit: Visit,
        text: str,
        *,
        profile: str | None = None,
    ) -> tuple[RegisteredClient, Verified]:
        """Rungs 5 to 7, with the same work and the same silence for every way to fail."""
        known = None
        try:
            problem = self._problem(client, _CANDIDATES, profile=profile)
            if client is None or problem is not None:
                shown = names.PRIVATE_KEY_JWT if unverified.alg in ASYMMETRIC else names.CLIENT_SECRET_JWT
                raise self._refused(problem or Reason.CLIENT_UNKNOWN, client, shown)
            method = client.record.token_endpoint_auth_method
            if method == names.PRIVATE_KEY_JWT and client.record.jwks_uri is not None:
                wanted = private_key_jwt.wanted(client, unverified)
                client = await self._remote_keys.complete(client, wanted, now=visit.now)
            known = client
            keys = _CANDIDATES[method](client, unverified, now=visit.now)
        except Rejected as refusal:
            dummy.verify(unverified)
            visit.findings = Findings(evidence=Evidence(known, unverified, text))
            raise self._described(refusal, client, visit.now) from None
        try:
            return client, _verify(unverified, keys)
        except Rejected as refusal:
            found = await self._verify_again(client, unverified, keys, visit.now)
            if found is None:
                visit.findings = Findings(evidence=Evidence(known, unverified, text))
                raise self._described(refusal, client, visit.now) from None
            return found

    async def _verify_again(
        self, client: RegisteredClient, unverified: Unverified, tried: Sequence[VerificationKey], now: float
    ) -> tuple[RegisteredClient, Verified] | None:
        """Verify with keys that the client has published since its set was fetched; None if none fits."""
        if client.record.token_endpoint_auth_method != names.PRIVATE_KEY_JWT or client.record.jwks_uri is None:
            return None
        wanted = private_key_jwt.wanted_instead(unverified, tried)
        found = await self._remote_keys.look_again(client, wanted, now=now)
        if found is None:
            return None
        try:
            return found, _verify(unverified, private_key_jwt.candidates(found, unverified, now=now))
        except Rejected:
            return None

    def _described(self, refusal: Rejected, client: RegisteredClient | None, now: float) -> Rejected:
        """Add the age of fetched keys, and the keys left out of their set, to the detail for the operator."""
        copy = self._remote_keys.describe(client, now=now) if client is not None else ""
        detail = "; ".join(filter(None, (refusal.detail, copy)))
        return Rejected(refusal.reason, expected=refusal.expected, got=refusal.got, detail=detail)

    def _refused(self, problem: Reason, client: RegisteredClient | None, shown: str) -> Rejected:
        """Return the refusal of rung 5. What is expected goes into the record only."""
        if client is None or problem is not Reason.CLIENT_METHOD:
            return Rejected(problem)
        registered = client.record.token_endpoint_auth_method
        if registered == shown:  # the server, or the client's profile, does not accept the registered method
            return Rejected(problem, expected=" or ".join(client.demands.methods or self._methods), got=registered)
        return Rejected(problem, expected=_PLACES[registered], got=_PLACES.get(shown, shown))

    def _problem(
        self, client: RegisteredClient | None, methods: Collection[str], *, profile: str | None = None
    ) -> Reason | None:
        """Why this client cannot authenticate by one of these methods, whatever it sends (rung 5)."""
        if client is None:
            return Reason.CLIENT_UNKNOWN
        if not client.record.enabled:
            return Reason.CLIENT_DISABLED
        registered = client.record.token_endpoint_auth_method
        is_taken = registered in self._methods and client.demands.allows_method(registered)
        if registered not in methods or not is_taken or (profile is not None and client.record.profile != profile):
            return Reason.CLIENT_METHOD
        return None


def _verify(unverified: Unverified, keys: Sequence[VerificationKey]) -> Verified:
    """Verify with the first of these keys that fits; raise the refusal of the last one."""
    for key in keys[:-1]:
        with suppress(Rejected):
            return compact.verify(unverified, key)
    return compact.verify(unverified, keys[-1])


def _judge(
    client: RegisteredClient, verified: Verified, text: str, visit: Visit, *, guide: presented.Guide | None = None
) -> Authenticated:
    if guide is not None and guide.secret is not None:
        _check_sent_secret(client, guide.secret, visit.now)
    by_key = client.record.token_endpoint_auth_method == names.PRIVATE_KEY_JWT
    try:
        observed = private_key_jwt.check_jku(client, verified.header) if by_key else []
        statement = assertion.verify(verified, rules=client.rules, now=visit.now, whole=text.encode("ascii"))
    except Rejected as refusal:
        visit.findings = judge(client, verified, visit.now, refusal)
        raise
    return _authenticated(client, verified, statement, guide, observed)


def _authenticated(
    client: RegisteredClient,
    verified: Verified,
    statement: ClientAssertion,
    guide: presented.Guide | None,
    observed: list[Reason],
) -> Authenticated:
    return Authenticated(
        client=client,
        method=client.record.token_endpoint_auth_method,
        claim=JtiClaim(statement.client_id, statement.jti_digest, statement.live_until),
        # Two of the guide's requests within one second are the same bytes. With the secret sent along, who repeats
        # them could as well have made new ones; without it a repetition is a replay.
        tolerates_repeat=guide is not None and guide.secret is not None and "jti" not in verified.claims,
        alg=str(verified.header["alg"]),
        kid=verified.key.kid,
        thumbprint=verified.key.thumbprint or verified.key.kid,
        label=statement.label,
        observed=tuple(reason.code for reason in (*client.observed, *observed, *statement.observed)),
        asked_scope=verified.claims.get("scope"),
        asked_resource=verified.claims.get("resource"),
    )


def _check_sent_secret(client: RegisteredClient, secret: str, now: float) -> None:
    sent = secret.encode()
    if not any([hmac.compare_digest(key.secret, sent) for key in client.secrets(now)]):  # noqa: C419 - all are compared
        raise Rejected(Reason.SECRET)
