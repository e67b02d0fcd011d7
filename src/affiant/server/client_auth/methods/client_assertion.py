"""private_key_jwt and client_secret_jwt: a JWT that the client signed (RFC 7523; OpenID Connect Core section 9).

A request has it as `client_assertion`; as `assertion`, where it is the grant itself (RFC 7523 section 2.1); or, for
clients with the guide profile, as `assertion` with client_credentials.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar

from msgspec import structs

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.algorithms import ASYMMETRIC, SYMMETRIC
from affiant.jose.compact import Unverified, Verified
from affiant.jose.jwk import MAX_KID
from affiant.jose.keys import PublicKey, VerificationKey
from affiant.oauth import assertion, names
from affiant.oauth.federation import trusted_token
from affiant.server.client_auth import findings, stranger
from affiant.server.client_auth.method import Judging, Method, SelfNamed, Sent
from affiant.server.registry.directory import RegisteredClient
from affiant.server.registry.key_cache import Wanted
from affiant.server.registry.profiles import GUIDE
from affiant.server.request.caller import Caller
from affiant.server.request.notes import Evidence
from affiant.storage.entries import JtiClaim

MAX_CANDIDATES = 8  # signatures that one request can make the server verify
_CODE = (
    'form.pop("client_secret", None); headers.pop("Authorization", None); '
    f'form |= {{"client_assertion": token, "client_assertion_type": "{names.JWT_BEARER_ASSERTION_TYPE}"}}'
)


class Assertion(SelfNamed, frozen=True):
    """A parsed assertion, and the client that it names."""

    HIDDEN = frozenset({"text", "unverified"})
    methods: ClassVar[tuple[str, ...]] = (names.PRIVATE_KEY_JWT, names.CLIENT_SECRET_JWT)
    profile: ClassVar[str | None] = None

    text: str
    unverified: Unverified
    client_id: str

    @property
    def name(self) -> str:
        return names.PRIVATE_KEY_JWT if self.unverified.alg in ASYMMETRIC else names.CLIENT_SECRET_JWT

    async def judge(self, client: RegisteredClient, judging: Judging) -> Caller:
        client = client.proving() if judging.proves_key else client
        return self._accept(*await self._verify(client, judging), judging)

    def refused(self, refusal: Rejected) -> Rejected:
        return refusal

    async def _verify(self, client: RegisteredClient, judging: Judging) -> tuple[RegisteredClient, Verified]:
        """Find the keys that may have signed, and verify with them. Every failure costs a verification."""
        try:
            if _publishes_keys(client):
                wanted = _wanted(client, self.unverified)
                client = await judging.remote_keys.complete(client, wanted, now=judging.now)
            keys = _candidates(client, self.unverified, judging.now)
        except Rejected as refusal:
            with suppress(Rejected):
                compact.verify_any(self.unverified, stranger.dummy_keys(self.unverified.alg))
            raise self._unverified(refusal, client, judging) from None
        try:
            return client, compact.verify_any(self.unverified, keys)
        except Rejected as refusal:
            found = await self._verify_again(client, keys, judging)
            if found is None:
                raise self._unverified(refusal, client, judging) from None
            return found

    async def _verify_again(
        self, client: RegisteredClient, tried: Sequence[VerificationKey], judging: Judging
    ) -> tuple[RegisteredClient, Verified] | None:
        """Verify with keys that the client has published since its set was fetched; None if none fits."""
        if not _publishes_keys(client):
            return None
        wanted = _wanted_instead(self.unverified, tried)
        found = await judging.remote_keys.look_again(client, wanted, now=judging.now)
        if found is None:
            return None
        try:
            return found, compact.verify_any(self.unverified, _candidates(found, self.unverified, judging.now))
        except Rejected:
            return None

    def _unverified(self, refusal: Rejected, client: RegisteredClient, judging: Judging) -> Rejected:
        """Keep the assertion for the search for its mistake; add the state of fetched keys to the detail."""
        judging.notes.evidence = Evidence(client, self.unverified, self.text)
        copy = judging.remote_keys.describe(client, now=judging.now)
        detail = "; ".join(filter(None, (refusal.detail, copy)))
        return Rejected(refusal.reason, expected=refusal.expected, got=refusal.got, detail=detail)

    def _accept(self, client: RegisteredClient, verified: Verified, judging: Judging) -> Caller:
        """Judge the claims of a verified assertion."""
        method = client.record.token_endpoint_auth_method
        judging.notes.iat = verified.claims.get("iat")
        try:
            observed = _check_jku(client, verified.header) if method == names.PRIVATE_KEY_JWT else []
            whole = self.text.encode("ascii")
            statement = assertion.verify(verified, rules=client.rules, now=judging.now, whole=whole)
        except Rejected as refusal:
            findings.note(judging.notes, client, verified, judging.now, refusal)
            raise
        breaches = (*client.observed, *observed, *statement.observed)
        return Caller(
            client,
            method,
            claim=JtiClaim(statement.client_id, statement.jti_digest, statement.live_until),
            alg=self.unverified.alg,
            kid=verified.key.kid,
            thumbprint=verified.key.thumbprint or verified.key.kid,
            label=statement.label,
            observed=tuple(reason.code for reason in breaches) if breaches else (),
            asked_scope=verified.claims.get("scope"),
            asked_resource=verified.claims.get("resource"),
        )


class GuideAssertion(Assertion, frozen=True):
    """The request of a common guide: a JWT in `assertion`, perhaps with the client's secret next to it."""

    HIDDEN = frozenset({"text", "unverified", "secret"})
    profile: ClassVar[str | None] = GUIDE

    named: str | None = None  # the parameter client_id
    secret: str | None = None

    async def judge(self, client: RegisteredClient, judging: Judging) -> Caller:
        try:
            client, verified = await self._verify(client, judging)
            if self.named is None:
                raise Rejected(Reason.MISPLACED_ASSERTION, detail="client_id is missing")
        except Rejected as refusal:
            raise self.refused(refusal) from None
        if self.secret is not None:
            _check_sent_secret(client, self.secret, judging.now)
        caller = self._accept(client, verified, judging)
        # Two such requests within one second are the same bytes. With the secret in the request, its sender could as
        # well have signed a new one; without the secret, a repeated request is a replay.
        tolerates = self.secret is not None and "jti" not in verified.claims
        return structs.replace(caller, tolerates_repeat=tolerates)

    def refused(self, refusal: Rejected) -> Rejected:
        return _misplaced(refusal)


def _publishes_keys(client: RegisteredClient) -> bool:
    record = client.record
    return record.jwks_uri is not None and record.token_endpoint_auth_method == names.PRIVATE_KEY_JWT


def _marks(sent: Sent) -> list[str]:
    sent_as = ["client_assertion"] if sent.form.get("client_assertion") is not None else []
    is_grant = sent.grant == names.JWT_BEARER and sent.form.get("assertion") is not None
    return [*sent_as, "assertion"] if is_grant else sent_as


def _shows(sent: Sent) -> Assertion | None:
    if sent.grant == names.CLIENT_CREDENTIALS and sent.form.get("assertion") is not None:
        return _guide(sent)
    text = sent.find_assertion()
    if text is None:
        return None
    unverified = sent.parse(text)
    if trusted_token.find_issuers(unverified):
        return None  # of another issuer: platform_token.py
    if sent.form.get("client_assertion_type") == names.JWT_SPIFFE_ASSERTION_TYPE:
        iss, sub = unverified.claims.get("iss"), unverified.claims.get("sub")
        if iss is None or iss != sub:
            raise trusted_token.no_spiffe_id(sub)
        raise Rejected(Reason.ASSERTION_TYPE, expected=names.JWT_BEARER_ASSERTION_TYPE)
    return Assertion(text, unverified, assertion.check_names(unverified, client_id=sent.form.get("client_id")))


def _guide(sent: Sent) -> GuideAssertion:
    form = sent.form
    if form.get("client_assertion") is not None or sent.header(b"authorization"):
        raise Rejected(Reason.MISPLACED_ASSERTION)
    text, named = form.get("assertion") or "", form.get("client_id")
    try:
        unverified = assertion.parse(text)
        client_id = assertion.check_names(unverified, client_id=named, free_subject=True)
    except Rejected as refusal:
        raise _misplaced(refusal) from None
    return GuideAssertion(text, unverified, client_id, named, form.get("client_secret"))


def _misplaced(refusal: Rejected) -> Rejected:
    # Until the MAC is verified there is one answer to all: whether a client has the profile is not disclosed.
    return Rejected(Reason.MISPLACED_ASSERTION, detail=f"{refusal.reason.code} {refusal.detail}".strip())


def _check_sent_secret(client: RegisteredClient, secret: str, now: float) -> None:
    sent = secret.encode()
    if not any([hmac.compare_digest(key.secret, sent) for key in client.secrets(now)]):  # noqa: C419 - all are compared
        raise Rejected(Reason.SECRET)


def _candidates(client: RegisteredClient, unverified: Unverified, now: float) -> Sequence[VerificationKey]:
    """Return the keys to try: those with its kid, or every fitting one if it has none.

    Several keys may have one kid (RFC 7517 section 4.5); they are tried in their order. To a MAC a kid means nothing.
    """
    if client.record.token_endpoint_auth_method == names.CLIENT_SECRET_JWT:
        return _secrets(client, unverified, now)
    _check_algorithm(client, unverified)
    usable, named = client.keys.usable(now), unverified.kid is not None
    keys = [key for key in usable if key.kid == unverified.kid] if named else usable
    if named and not keys:
        raise Rejected(Reason.KEY_UNKNOWN, expected=_kids(usable), got=(unverified.kid or "")[:100])
    fitting = [key for key in keys if unverified.alg in key.algorithms][:MAX_CANDIDATES]
    if named and not fitting:
        algs = sorted({alg for key in keys for alg in key.algorithms})
        raise Rejected(Reason.KEY_ALGORITHM, expected=" or ".join(algs), got=unverified.alg)
    if not fitting:
        raise Rejected(Reason.KEY_NONE, expected=_kids(usable), got=unverified.alg)
    return fitting


def _secrets(client: RegisteredClient, unverified: Unverified, now: float) -> Sequence[VerificationKey]:
    secrets = client.secrets(now)
    if not secrets:
        raise Rejected(Reason.KEY_NONE, expected="a secret")
    if unverified.alg != secrets[0].alg:
        raise Rejected(Reason.KEY_ALGORITHM, expected=secrets[0].alg, got=unverified.alg)
    return secrets


def _wanted(client: RegisteredClient, unverified: Unverified) -> Wanted:
    """Return which published key is needed; raise KEY_ALGORITHM where none could be."""
    _check_algorithm(client, unverified)
    kid, alg = unverified.kid, unverified.alg
    if alg not in ASYMMETRIC:
        raise Rejected(Reason.KEY_ALGORITHM, expected="a public key", got=alg)
    if kid is not None:
        return Wanted(kid[:MAX_KID], lambda key: key.kid == kid)
    return Wanted(f"any {alg}", lambda key: alg in key.algorithms)


def _wanted_instead(unverified: Unverified, tried: Sequence[VerificationKey]) -> Wanted:
    """Return the key to fetch when none of these made the signature: another one that fits."""
    kid, alg, known = unverified.kid, unverified.alg, {key.thumbprint for key in tried}
    name = f"not the known one for {kid[:MAX_KID] if kid is not None else alg}"
    return Wanted(name, lambda key: kid in (None, key.kid) and alg in key.algorithms and key.thumbprint not in known)


def _check_algorithm(client: RegisteredClient, unverified: Unverified) -> None:
    pinned = client.record.token_endpoint_auth_signing_alg
    if pinned is not None and unverified.alg != pinned and {pinned, unverified.alg} != {"EdDSA", "Ed25519"}:
        raise Rejected(Reason.KEY_ALGORITHM, expected=pinned, got=unverified.alg)
    if not client.demands.allows_algorithm(unverified.alg):
        raise Rejected(Reason.KEY_ALGORITHM, expected=" or ".join(client.demands.algorithms or ()), got=unverified.alg)


def _kids(keys: Sequence[PublicKey]) -> str:
    return ", ".join(f"{key.kid} ({key.alg or key.kty})" for key in keys)


def _check_jku(client: RegisteredClient, header: dict[str, Any]) -> list[Reason]:
    """Reject a `jku` other than the registered jwks_uri; the server never fetches a jku (RFC 7515 section 4.1.2).

    SMART App Launch, "Signature verification", step 1a. A client with registered keys has no address to compare with:
    its jku is ignored, and returned as an observed breach.
    """
    if "jku" not in header:
        return []
    if client.record.jwks_uri is None:
        return [Reason.JKU]
    if header["jku"] != client.record.jwks_uri:
        raise Rejected(Reason.JKU, expected=client.record.jwks_uri, got=str(header["jku"])[:100])
    return []


METHOD = Method(
    places={
        names.PRIVATE_KEY_JWT: "private_key_jwt (client_assertion, signed with the client's key)",
        names.CLIENT_SECRET_JWT: "client_secret_jwt (client_assertion, a MAC by the client's secret)",
    },
    marks=_marks,
    shows=_shows,
    code=lambda _, __: _CODE,
    algorithms={names.PRIVATE_KEY_JWT: ASYMMETRIC, names.CLIENT_SECRET_JWT: SYMMETRIC},
)
