"""Check a request: authenticate the caller of an API (RFC 6750, RFC 9068 section 4, RFC 9449 section 7)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

from affiant.errors import ConfigError, Rejected, RemoteError
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.compact import Unverified
from affiant.oauth import access_token, bearer, resource_request
from affiant.oauth.access_token import AccessToken, JudgedToken
from affiant.oauth.binding import forwarded
from affiant.oauth.binding.forwarded import Proxies
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.parameters import need as needs
from affiant.oauth.parameters.need import Need, Needed
from affiant.oauth.resource_request import Proved, Rules, Scope
from affiant.resource import waiting
from affiant.resource.answers import Challenges, Denied
from affiant.resource.caller import Caller
from affiant.resource.credentials.api_keys import ApiKeys
from affiant.resource.diagnosis.counts import Counts
from affiant.resource.issuer import introspect
from affiant.resource.issuer.introspect import Introspected
from affiant.resource.issuer.seen import Seen
from affiant.resource.issuer.trust import Trusted
from affiant.resource.metadata import Published, ResourceMetadata, publish
from affiant.resource.replays.claims import Claims
from affiant.resource.replays.store import ReplayStore
from affiant.resource.waiting import Steps
from affiant.telemetry.tracing.traces import READ, Traces

Found = TypeVar("Found")


class Presented(NamedTuple):
    """The credentials in a request: every value of the headers that have them."""

    authorization: tuple[bytes, ...]
    api_keys: tuple[bytes, ...]


class Checks:
    """The checks of a guard: a request goes in, a caller or a refusal comes out."""

    _traces: Traces | None = None

    def __init__(
        self,
        rules: Rules,
        trusted: Sequence[Trusted],
        *,
        url: str | None,
        proxies: Proxies,
        challenges: Challenges,
        clock: Callable[[], float],
        replays: ReplayStore | None = None,
        api_keys: ApiKeys | None = None,
    ) -> None:
        self.issuer: str = rules.issuer
        self.audience: str = rules.audience
        self.url: str | None = url
        self.published: Published | None = challenges.published
        self._rules, self._proxies, self._challenges = rules, proxies, challenges
        self._trusted = {one.accepted.issuer: one for one in trusted}
        self._only = trusted[0] if len(trusted) == 1 else None
        self._opaque = next((one for one in trusted if one.introspected and one.introspected.is_for_opaque), None)
        self._clock, self._api_keys = clock, api_keys
        self._seen = Seen[Trusted]()
        self._counts = Counts()
        self._admit = resource_request.admit
        # All identifiers of the API, in one order: every process of it must find the proofs of the others.
        api = " ".join(sorted(trusted[0].accepted.audiences))
        self._claims = Claims(rules.replays, replays, api=api, clock=clock)

    @property
    def schemes(self) -> tuple[str, ...]:
        """The schemes of the Authorization header that this API takes: ``Bearer`` and ``DPoP``, or ``DPoP`` alone."""
        return self._rules.schemes

    @property
    def header_names(self) -> tuple[str, ...]:
        """The names of the headers that a check reads, in lower case."""
        more = (self._api_keys.header,) if self._api_keys is not None else ()
        return (*resource_request.READ, *more, *(READ if self._traces is not None else ()))

    def presented(self, scope: Scope) -> Presented:
        """Return the credentials in a request."""
        authorization = tuple(value for name, value in scope["headers"] if name == b"authorization")
        return Presented(authorization, self._api_keys.values(scope["headers"]) if self._api_keys is not None else ())

    async def check(
        self,
        authorization: Sequence[bytes],
        *,
        need: Needed | Need = (),
        proved: Proved | None = None,
        certificate: Certificate | None = None,
    ) -> Caller:
        """Return the caller of a request.

        Args:
            authorization: every value of its Authorization header.
            need: the scopes that it must have, all of them; as a str, separated by spaces (RFC 6749 section 3.3). Of
                `any_of` one is enough.
            proved: the request with its DPoP proofs, if it has any; needed for a token that is bound to a key.
            certificate: the client certificate of the request, if it has one; needed for a token that is bound to one
                (RFC 8705 section 3).

        Raises:
            ConfigError: `need` is no scope.
            Rejected: TOKEN_MISSING where there is no token, a TOKEN_* or DPOP_* reason, or SCOPE_INSUFFICIENT.
            RemoteError: the issuer's keys are unknown and cannot be fetched, its revocations are required and too old,
                or it does not answer the introspection: respond with 503.
        """
        steps = self._check(authorization, needs.parse(need), proved, certificate)
        if self._traces is not None:
            steps = self._traced(self._traces, steps)
        try:
            return await waiting.run(steps)
        except (Rejected, RemoteError) as error:
            self._counts.refuse(error)
            raise

    def check_sync(
        self,
        authorization: Sequence[bytes],
        *,
        need: Needed | Need = (),
        proved: Proved | None = None,
        certificate: Certificate | None = None,
    ) -> Caller:
        """Return the caller of a request, as `check` does, in a thread without an event loop.

        What must be fetched is fetched by a thread of the guard, for which this one waits a bounded time.
        """
        steps = self._check(authorization, needs.parse(need), proved, certificate)
        if self._traces is not None:
            steps = self._traced(self._traces, steps)
        try:
            return waiting.run_sync(steps)
        except (Rejected, RemoteError) as error:
            self._counts.refuse(error)
            raise

    async def check_scope(self, scope: Scope, need: Needed | Need = ()) -> Caller | Denied:
        """Check a request or a WebSocket of ASGI.

        Args:
            scope: of ASGI, not a scope of OAuth; its client must be the peer itself, not an address from a header.
            need: the scopes that the token must have, as in `check`.

        Returns:
            The caller, or the whole response for a request that is refused.
        """
        return await waiting.run(self._check_scope(scope, needs.parse(need)))

    def check_environ(
        self, environ: Mapping[str, Any], need: Needed | Need = (), *, certificate: Certificate | None = None
    ) -> Caller | Denied:
        """Check a request of WSGI, in a thread without an event loop.

        Args:
            environ: of WSGI (PEP 3333).
            need: the scopes that the token must have, as in `check`.
            certificate: the client certificate of the request, if it has one: no header is read for it.

        Returns:
            The caller, or the whole response for a request that is refused.
        """
        return self.check_scope_sync(
            resource_request.from_environ(environ, self.header_names), need, certificate=certificate
        )

    def check_scope_sync(
        self, scope: Scope, need: Needed | Need = (), *, certificate: Certificate | None = None
    ) -> Caller | Denied:
        """Check a request in the form of ASGI, as `check_scope` does, in a thread without an event loop."""
        return waiting.run_sync(self._check_scope(scope, needs.parse(need), certificate))

    async def check_request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]],
        need: Needed | Need = (),
        *,
        certificate: Certificate | None = None,
        peer: str | None = None,
    ) -> Caller | Denied:
        """Check a request of HTTP, whatever framework it came to.

        Args:
            method: of the request.
            url: as its sender knows it, or its path with the query.
            headers: of the request; several with one name need pairs. Names may have any case.
            need: the scopes that the token must have, as in `check`.
            certificate: the client certificate of the request, if it has one.
            peer: the address that the request came from; a certificate in a header counts only from
                `certificate_proxies`.

        Returns:
            The caller, or the whole response for a request that is refused.
        """
        scope = resource_request.from_request(method, url, headers, peer=peer)
        return await waiting.run(self._check_scope(scope, needs.parse(need), certificate))

    def check_request_sync(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]],
        need: Needed | Need = (),
        *,
        certificate: Certificate | None = None,
        peer: str | None = None,
    ) -> Caller | Denied:
        """Check a request of HTTP, as `check_request` does, in a thread without an event loop."""
        scope = resource_request.from_request(method, url, headers, peer=peer)
        return waiting.run_sync(self._check_scope(scope, needs.parse(need), certificate))

    def deny(self, error: Rejected | RemoteError, authorization: Sequence[bytes] = ()) -> Denied:
        """Return the whole response for a request that `check` refused.

        Args:
            error: the exception that `check` raised.
            authorization: every value of the Authorization header; the challenge names its scheme first.
        """
        return self._challenges.deny(error, authorization, self.current_nonce(), algs=self._proof_algorithms())

    def publish(self) -> Published | None:
        """Return the metadata to be served; from now on every challenge has their URL.

        Without `metadata=` they have what the guard knows. None if the audience is not a URL where they can be found.
        """
        if self.published is None:
            with contextlib.suppress(ConfigError):
                self.published = publish(ResourceMetadata(), self._rules)
                self._challenges = replace(self._challenges, published=self.published)
        return self.published

    def warm_up(self) -> None:
        """Begin to fetch what checks need from each issuer. It waits for nothing, and a failure is only logged."""
        for trusted in self._trusted.values():
            trusted.warm_up()

    def trusted(self) -> tuple[Trusted, ...]:
        """Return the issuers whose tokens are accepted, with what is known of each."""
        return tuple(self._trusted.values())

    def current_nonce(self) -> str | None:
        """Return the nonce for the header DPoP-Nonce, or None if this API wants none."""
        nonces = self._rules.nonces
        return nonces.current(self._clock()) if nonces is not None else None

    def _proof_algorithms(self) -> Sequence[str]:
        """Return the algorithms of proofs for a challenge: those that the issuer of the next token takes, too.

        A key is bound at the issuer (RFC 9449 section 5.1), so a client needs an algorithm of both. An issuer that does
        not say which ones it takes leaves ours.
        """
        ours, theirs = self._rules.proof_algorithms, frozenset[str]()
        for trusted in self._trusted.values():
            said = trusted.remote.proof_algorithms()
            theirs |= frozenset(ours) if said is None else said
        return [name for name in ours if name in theirs] or ours

    def _check_scope(
        self, scope: Scope, wanted: Need, certificate: Certificate | None = None
    ) -> Steps[Caller | Denied]:
        steps = self._judge_scope(scope, wanted, certificate)
        return steps if self._traces is None else self._traced(self._traces, steps, scope["headers"])

    def _traced(self, traces: Traces, steps: Steps[Found], headers: Iterable[tuple[bytes, bytes]] = ()) -> Steps[Found]:
        from affiant.resource.diagnosis import spans  # noqa: PLC0415 - it imports OpenTelemetry

        return spans.checking(traces, steps, audience=self.audience, headers=headers)

    def _judge_scope(self, scope: Scope, wanted: Need, certificate: Certificate | None) -> Steps[Caller | Denied]:
        authorization, proved = resource_request.read(scope, base=self.url)
        try:
            resource_request.check_query(scope.get("query_string", b""), authorization)
            if self._api_keys is not None:
                return (yield from self._check_with_keys(self._api_keys, scope, wanted, certificate))
            return (yield from self._check(authorization, wanted, proved, certificate or self._find_certificate(scope)))
        except (Rejected, RemoteError) as error:
            self._counts.refuse(error)
            return self.deny(error, authorization)

    def _check_with_keys(
        self, api_keys: ApiKeys, scope: Scope, wanted: Need, certificate: Certificate | None
    ) -> Steps[Caller]:
        """Check a request of a client that may still have an API key, and count what it has."""
        authorization, _ = resource_request.read(scope, base=self.url)
        way = api_keys.way(api_keys.values(scope["headers"]), authorization)
        try:
            caller = yield from self._check_key_or_token(api_keys, scope, wanted, certificate)
        except (Rejected, RemoteError) as error:
            self._counts.show(way, error)
            raise
        self._counts.show(way)
        return caller

    def _check_key_or_token(
        self, api_keys: ApiKeys, scope: Scope, wanted: Need, certificate: Certificate | None
    ) -> Steps[Caller]:
        authorization, proved = resource_request.read(scope, base=self.url)
        values, now = api_keys.values(scope["headers"]), self._clock()
        caller = api_keys.admit(values, authorization, issuer=self.issuer, now=now)
        if caller is None:
            found = certificate or self._find_certificate(scope)
            caller = yield from self._check(authorization, wanted, proved, found)
            api_keys.count(caller.client_id, "both" if values else "token", now)
            return caller
        if not wanted.is_met_by(caller.scopes):
            raise Rejected(Reason.SCOPE_INSUFFICIENT, expected=wanted.text)
        self._counts.accepted += 1
        return caller

    def _find_certificate(self, scope: Scope) -> Certificate | None:
        peer = scope["client"][0] if scope.get("client") else None
        tls = (scope.get("extensions") or {}).get("tls")
        return forwarded.find(scope["headers"], peer=peer, proxies=self._proxies, tls=tls)

    def _check(
        self, authorization: Sequence[bytes], wanted: Need, proved: Proved | None, certificate: Certificate | None
    ) -> Steps[Caller]:
        """Check a request; yield what must be fetched."""
        found = bearer.split_authorization(authorization)
        if found is None:
            raise Rejected(Reason.TOKEN_MISSING, expected=wanted.text)
        scheme, text = found
        digest = sha256(text).digest()
        known = self._find(digest)
        if known is None:
            known = yield from self._judge(text, digest)
        trusted, judged = known
        now, rules = self._clock(), self._rules
        token, proof = self._admit(judged, scheme, text, rules=rules, now=now, proved=proved, certificate=certificate)
        if trusted.revocations.is_ready():
            trusted.revocations.judge(judged)
        else:
            yield partial(trusted.revocations.check, judged)
        if trusted.introspected is not None:
            yield from _introspect(trusted.introspected, text.decode("ascii"), token)
        # Order: scope comes last, so that a caller without a valid token gets 401 and not 403.
        if not wanted.is_met_by(token.scopes):
            raise Rejected(Reason.SCOPE_INSUFFICIENT, expected=wanted.text)
        next_nonce = None
        # Order: only a request that is admitted uses up its proof, so a refused one costs the store nothing.
        if proof is not None:
            yield from self._claims.claim(proof)
            next_nonce = rules.nonces.after(proof, now) if rules.nonces is not None else None
        self._counts.accepted += 1
        # Attack: code of the API changes the claims. The next request with this token is judged by other ones.
        claims = dict(token.claims)
        for name in judged.nested:
            claims[name] = deepcopy(claims[name])
        return Caller(token.client_id, token.sub, token.scopes, token.jti, claims, next_nonce)

    def _find(self, digest: bytes) -> tuple[Trusted, JudgedToken] | None:
        """Return a token that the present keys of its issuer have verified before."""
        entry = self._seen.find(digest)
        if entry is None:
            return None
        keys = entry.owner.keys
        return (entry.owner, entry.judged) if keys.is_ready() and keys.edition == entry.edition else None

    def _judge(self, text: bytes, digest: bytes) -> Steps[tuple[Trusted, JudgedToken]]:
        """Verify the signature, and judge what no time changes."""
        entry = self._seen.find(digest)
        if entry is not None and entry.edition == entry.owner.keys.edition:  # the keys were too old for it
            yield entry.owner.keys.refresh
            if (found := self._find(digest)) is not None:
                return found
        token = bearer.parse_token(text)
        self._counts.unknown += 1
        if self._opaque is not None and introspect.is_opaque(token):
            return (yield from self._describe(token, self._opaque))
        unverified = resource_request.parse(token)
        trusted = self._only or self._choose(unverified)
        if unverified.alg not in trusted.algorithms:
            raise Rejected(Reason.TOKEN_ALGORITHM)
        keys, edition = trusted.keys, trusted.keys.edition
        tried = keys.candidates(unverified) if keys.is_ready() else ()
        try:
            verified = compact.verify_any(unverified, tried)
        except Rejected:
            verified = yield partial(keys.verify, unverified, tried=tried)
            return trusted, access_token.judge(verified, trusted.accepted)
        judged = access_token.judge(verified, trusted.accepted)
        self._seen.keep(digest, trusted, edition, judged, characters=len(text))
        return trusted, judged

    def _describe(self, token: str, trusted: Trusted) -> Steps[tuple[Trusted, JudgedToken]]:
        """Judge an opaque token as its issuer describes it."""
        asked = trusted.introspected
        assert asked is not None  # noqa: S101 - that made it the issuer for opaque tokens
        judged = asked.find(token)
        if judged is None:
            judged = yield partial(asked.describe, token)
        return trusted, judged

    def _choose(self, unverified: Unverified) -> Trusted:
        """Return the issuer whose keys are used. Nothing else is decided by a claim that is not verified.

        Attack: a token names an issuer of its sender's. It is rejected, and nothing is fetched.
        """
        issuer = unverified.claims.get("iss")
        trusted = self._trusted.get(issuer) if isinstance(issuer, str) else None
        if trusted is None:
            raise Rejected(Reason.TOKEN_ISSUER, expected=" or ".join(self._trusted))
        return trusted


def _introspect(asked: Introspected, text: str, token: AccessToken) -> Steps[None]:
    """Ask the issuer about a token, if it was not asked lately. About an opaque one it was asked before."""
    if not introspect.is_opaque(text) and not asked.is_known(text, token):
        yield partial(asked.check, text, token)
