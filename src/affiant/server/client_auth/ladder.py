"""The ladder: the one ordered way in which a client is authenticated, for every endpoint (rungs 2 to 10).

The order is the security: nothing is told about a client before its signature held, and no jti is claimed before
every other rung (a stranger cannot burn one). Rung 11, the claim, is the ledger's and falls with the commit.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from affiant.errors import Rejected
from affiant.jose import compact
from affiant.jose.algorithms import ASYMMETRIC, SYMMETRIC
from affiant.oauth import assertion, names
from affiant.reasons import Reason
from affiant.server.client_auth import client_secret, client_secret_jwt, dummy, presented, private_key_jwt
from affiant.server.registry.directory import GUIDE
from affiant.server.request.visit import MAX_SHOWN
from affiant.storage.entries import JtiClaim
from affiant.values import Value

if TYPE_CHECKING:
    from affiant.jose.compact import Unverified, Verified
    from affiant.oauth.assertion import ClientAssertion
    from affiant.oauth.form import Form
    from affiant.server.keys.master_key import MasterKey
    from affiant.server.registry.directory import Directory, RegisteredClient
    from affiant.server.request.visit import Visit

_CANDIDATES = {
    names.PRIVATE_KEY_JWT: private_key_jwt.candidates,
    names.CLIENT_SECRET_JWT: client_secret_jwt.candidates,
}
_ALGORITHMS = {names.PRIVATE_KEY_JWT: ASYMMETRIC, names.CLIENT_SECRET_JWT: SYMMETRIC}
METHODS = (*_CANDIDATES, names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST)


class Authenticated(Value, frozen=True):
    """A client that proved who it is.

    Attributes:
        client: who.
        method: how (RFC 7591 section 2, token_endpoint_auth_method).
        claim: the jti still to be claimed, in the commit of whatever comes of this request.
        tolerates_repeat: a repeated request is recorded, not refused (guide profile with its secret sent along).
        alg: of the assertion.
        kid: the key that verified it.
        thumbprint: of that key (RFC 7638); the id of the secret where there was one.
        label: the guide's free `sub`, for the log only.
        observed: the codes of what a stricter policy would have refused.
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


class Ladder:
    """Authenticates clients by the one order of steps."""

    def __init__(self, *, directory: Directory, master_key: MasterKey, methods: tuple[str, ...] = METHODS) -> None:
        self._directory = directory
        self._master_key = master_key
        self._methods = methods

    def metadata(self, endpoint: str) -> dict[str, Any]:
        """What the server's metadata says of how clients authenticate at this endpoint (RFC 8414 section 2)."""
        algs = [alg for method in self._methods for alg in _ALGORITHMS.get(method, ())]
        return {
            f"{endpoint}_auth_methods_supported": list(self._methods),
            f"{endpoint}_auth_signing_alg_values_supported": algs,
        }

    async def authenticate(self, form: Form, authorization: list[bytes], visit: Visit) -> Authenticated:
        """The client of this request; the visit notes whom it names, and who it is once that is proved.

        Args:
            form: the parameters.
            authorization: every value of the Authorization header.
            visit: the request; its `now` is the time that counts.

        Raises:
            Rejected: a reason of rungs 2 to 10.
            StoreError: the client cannot be looked up.
        """
        shown = presented.parse(form, authorization)
        if isinstance(shown, presented.Assertion):
            visit.authenticated = await self._by_assertion(shown, visit)
        elif isinstance(shown, presented.Secret):
            visit.authenticated = await self._by_secret(shown, visit)
        else:
            visit.authenticated = await self._by_guide(shown, visit)
        return visit.authenticated

    async def _by_assertion(self, shown: presented.Assertion, visit: Visit) -> Authenticated:
        unverified = compact.parse(shown.text)
        visit.claimed = client_id = assertion.check_names(unverified, client_id=shown.client_id)
        client = await self._directory.client(client_id)
        verified = _verify(client, unverified, visit.now)
        return self._judge(client, verified, shown.text, visit.now)

    async def _by_secret(self, shown: presented.Secret, visit: Visit) -> Authenticated:
        visit.claimed = shown.client_id[:MAX_SHOWN]
        client = await self._directory.client(shown.client_id)
        # The secret is compared before the client is judged: the same work whoever it is.
        problem = _problem(client, shown.method)
        known = client if problem is None else None
        try:
            secret_id = client_secret.verify(known, shown.secret, master_key=self._master_key, now=visit.now)
        except Rejected as refusal:
            raise Rejected(problem or refusal.reason) from None
        if client is None or problem is not None:  # a secret of nobody never verifies; this keeps the type honest
            raise Rejected(problem or Reason.CLIENT_UNKNOWN)
        return Authenticated(client, shown.method, thumbprint=secret_id)

    async def _by_guide(self, shown: presented.Guide, visit: Visit) -> Authenticated:
        try:
            unverified = compact.parse(shown.text)
            visit.claimed = client_id = assertion.check_names(unverified, client_id=shown.client_id, free_subject=True)
            client = await self._directory.client(client_id)
            verified = _verify(client, unverified, visit.now, profile=GUIDE)
            if shown.client_id is None:
                raise Rejected(Reason.MISPLACED_ASSERTION, detail="client_id is missing")
        except Rejected as refusal:
            # Until the MAC has held, one answer for all: whether a client has the profile is nobody's business.
            detail = f"{refusal.reason.code} {refusal.detail}".strip()
            raise Rejected(Reason.MISPLACED_ASSERTION, detail=detail) from None
        return self._judge(client, verified, shown.text, visit.now, guide=shown)

    def _judge(
        self,
        client: RegisteredClient | None,
        verified: Verified,
        text: str,
        now: float,
        *,
        guide: presented.Guide | None = None,
    ) -> Authenticated:
        if client is None:  # _verify never returns for nobody; this keeps the type honest
            raise Rejected(Reason.CLIENT_UNKNOWN)
        if guide is not None and guide.secret is not None:
            _check_sent_secret(client, guide.secret, now)
        statement = assertion.verify(verified, rules=client.rules, now=now, whole=text.encode("ascii"))
        return _authenticated(client, verified, statement, guide)


def _authenticated(
    client: RegisteredClient, verified: Verified, statement: ClientAssertion, guide: presented.Guide | None
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
        observed=tuple(reason.code for reason in statement.observed),
    )


def _verify(
    client: RegisteredClient | None, unverified: Unverified, now: float, *, profile: str | None = None
) -> Verified:
    """Rungs 5 to 7, with the same work and the same silence for every way to fail."""
    try:
        problem = _problem(client, None, profile=profile)
        if client is None or problem is not None:
            raise Rejected(problem or Reason.CLIENT_UNKNOWN)
        keys = _CANDIDATES[client.record.token_endpoint_auth_method](client, unverified, now=now)
    except Rejected:
        dummy.verify(unverified)
        raise
    for key in keys[:-1]:
        try:
            return compact.verify(unverified, key)
        except Rejected:
            continue
    return compact.verify(unverified, keys[-1])


def _problem(client: RegisteredClient | None, method: str | None, *, profile: str | None = None) -> Reason | None:
    """Why this client cannot authenticate in this way, whatever it sends (rung 5)."""
    if client is None:
        return Reason.CLIENT_UNKNOWN
    if not client.record.enabled:
        return Reason.CLIENT_DISABLED
    registered = client.record.token_endpoint_auth_method
    fits = registered == method if method is not None else registered in _CANDIDATES
    if not fits or (profile is not None and client.record.profile != profile):
        return Reason.CLIENT_METHOD
    return None


def _check_sent_secret(client: RegisteredClient, secret: str, now: float) -> None:
    sent = secret.encode()
    if not any([hmac.compare_digest(key.secret, sent) for key in client.secrets(now)]):  # noqa: C419 - all are compared
        raise Rejected(Reason.SECRET)
