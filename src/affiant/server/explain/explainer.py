"""Repeat the steps of a request without a commit, or explain a request from its audit record."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose.compact import Unverified
from affiant.oauth import assertion, names
from affiant.oauth.assertion import Rules
from affiant.oauth.federation.trusted_token import REUSED
from affiant.oauth.metadata import Metadata
from affiant.oauth.parameters.form import Form
from affiant.server.client_auth import findings, ladder
from affiant.server.client_auth.admission import Foreign, ceiling_of, claim_owner
from affiant.server.client_auth.method import Sent
from affiant.server.client_auth.methods.platform_token import PlatformToken
from affiant.server.explain import explanation, fixes, granted, hints, near, tokens
from affiant.server.explain import facts as facts_of
from affiant.server.explain.captured import Captured
from affiant.server.explain.explanation import NOT_KNOWN, NOT_REACHED, PASSED, STEPS, Explanation, Line, failed, step_of
from affiant.server.explain.facts import Facts
from affiant.server.explain.federation import presented, trial
from affiant.server.explain.federation.presented import Presented, is_platforms, known_reasons
from affiant.server.explain.granted import Preview
from affiant.server.registry.directory import Directory, RegisteredClient
from affiant.server.registry.federation.keys import TrustKeys
from affiant.server.registry.federation.known import Federation
from affiant.server.request import http
from affiant.server.request.caller import Ceiling
from affiant.server.request.notes import Request
from affiant.server.token import binding, policy, requested
from affiant.server.token.endpoint import TokenEndpoint, check_grant
from affiant.storage.ports import Store

_LAST, _LAST_OF_CLAIMS = 12, 10  # steps, as far as a request and its claims are judged
_SEARCHED = 10_000  # records that are searched for the earlier use of a jti
_BY_KEY = range(6, 8)
_KNOWS_REGISTRATION = frozenset({5, 7, 11, 12})


class Explainer:
    """Explains requests, with the clients and keys of one server; it changes nothing."""

    def __init__(self, issuer: str, endpoint: TokenEndpoint, directory: Directory, store: Store) -> None:
        self._issuer = issuer
        self._endpoint = endpoint
        self._directory = directory
        self._store = store

    async def explain(self, captured: Captured, *, now: float, trust: str | None = None) -> Explanation:
        """Return what this server would answer to this request at this time.

        `trust` names the one that a platform's token is judged by; without it, that of its issuer does.
        """
        facts = facts_of.read(captured, issuer=self._issuer, now=now)
        await self._look_up(facts)
        tried = await self._try(facts, trust)
        if captured.is_bare and tokens.is_access_token(facts):
            return await tokens.explain(facts, self._directory, self._store.revocations)
        request = Request("explain", "", now, captured.scope(), captured.receive)
        refusals = await self._judge(request, facts, tried)
        caller = request.notes.caller
        found = explanation.build(refusals, facts, caller.observed if caller else ())
        found = replace(found, what=tokens.describe(facts) or None if refusals else None)
        fix = tokens.fix(facts) if found.what else None
        return replace(found, fix=fix, remedy=None) if fix is not None else found

    async def preview(self, client_id: str, resource: tuple[str, ...]) -> Preview | None:
        """Return the access token that this client would get for this API; None if there is no such client."""
        client = await self._directory.client(client_id)
        if client is None:
            return None
        return granted.preview(client, self._directory, resource, setting=self._endpoint.lifetime(None))

    async def explain_planned(self, captured: Captured, federation: Federation, *, now: float) -> Explanation:
        """Return how these trusts and rules, which are not registered, would judge a platform's token.

        The scope and the first use of the token are not judged. Raises ConfigError if it is no platform's token.
        """
        facts = facts_of.read(captured, issuer=self._issuer, now=now)
        token = _find_token(facts)
        if token is None:
            raise ConfigError("this is no token of a platform: paste the signed JWT that the job has")
        found = await trial.judge(token, federation, TrustKeys(), now=now)
        facts.presented, facts.judged_to = found.presented, _LAST
        found.presented.refusals = tuple(found.refusals)
        return explanation.build(found.refusals, facts)

    async def _look_up_recorded(self, facts: Facts, record: dict[str, Any]) -> None:
        token = facts.presented
        if token is not None and (signer := await self._directory.client(token.subject)) is not None:
            facts.client, facts.presented = signer, None  # it signed its own assertion, with a wrong iss
            return
        of_rule = token.client_id if token is not None else None
        name = record.get("client_id") or record.get("client_claimed") or of_rule
        facts.client = await self._directory.client(name) if name else None
        if facts.client is None and token is None and is_platforms(name, None):
            facts.presented = Presented(str(name), {}, await self._directory.federation())

    async def _try(self, facts: Facts, trust: str | None) -> list[Rejected]:
        """Judge a platform's token by trusts and rules; return every refusal. The facts then have the token."""
        token, as_subject = _find_token(facts), False
        if token is None and facts.grant == names.TOKEN_EXCHANGE:
            token, as_subject = _find_subject(facts), True
        if token is None:
            return []
        federation = await self._directory.federation()
        keys = self._endpoint.authenticator.trust_keys
        found = await trial.judge(token, federation, keys, now=facts.now, trust=trust)
        facts.presented, facts.near = found.presented, ()
        found.presented.as_subject, found.presented.refusals = as_subject, tuple(found.refusals)
        if as_subject:
            return found.refusals
        if found.presented.client_id is not None:
            facts.client = await self._directory.client(found.presented.client_id)
        facts.token_lifetime = self._endpoint.lifetime(facts.client)
        return found.refusals

    async def explain_record(self, record: dict[str, Any]) -> Explanation:
        """Explain a request from its audit record; the request itself is not stored."""
        facts = facts_of.of_record(record, issuer=self._issuer)
        federation = await self._directory.federation()
        facts.presented = presented.of_record(record, federation)
        await self._look_up_recorded(facts, record)
        self._note(facts)
        if facts.hint is None and record.get("reason"):
            later = await self._store.audit_log.find(hints.trace_id(record["trace_id"]))
            facts.hint = hints.parse(later.get("hint")) if later is not None else None
        if record.get("reason") == Reason.REPLAYED.code:
            facts.claimed = True
            facts.kept = facts.hint.code == hints.KEPT if facts.hint is not None else None
            await self._find_earlier(facts, record.get("client_id"), record.get("jti_digest"), record["trace_id"])
        if (policies := record.get("policies")) is not None:
            facts.judged_to = _LAST_OF_CLAIMS
            facts.policies = dict(p.split("=", 1) for p in policies.split() if "=" in p)
        code = record.get("reason")
        first, also = known_reasons([code] if code else []), known_reasons((record.get("also") or "").split())
        shown = {name: str(record.get(name) or "") for name in ("expected", "got", "detail")}
        refusals = [Rejected(reason, **shown) for reason in first] + [Rejected(reason) for reason in also]
        if code and not first:
            found = explanation.of_another_version(code, refusals, facts, shown["detail"])
        else:
            found = explanation.build(refusals, facts, tuple((record.get("observed") or "").split()))
        return explanation.of_record(found, record)

    async def _judge(self, request: Request, facts: Facts, tried: list[Rejected]) -> list[Rejected]:
        """Return every refusal of this request; the first is the one that the caller would get.

        `tried` has those of a platform's token; if the operator named its trust, they come first.
        """
        notes = request.notes
        try:
            form = await http.read_form(request.scope, request.receive)
        except Rejected as refusal:
            return [refusal]
        refusals: list[Rejected] = []
        try:
            decision = await self._endpoint.decide(form, request)
        except Rejected as refusal:
            refusals.append(refusal)
        else:
            setting = self._endpoint.lifetime(None)
            facts.granted = granted.build(decision, self._directory.apis, setting=setting, now=facts.now)
        if refusals and refusals[0].reason.value.step in _BY_KEY:
            facts.hint = _hint(facts)
        has_verified = notes.caller is not None or notes.policies is not None
        if refusals and has_verified:
            refusals += [*self._go_on(request, facts, refusals[0]), *tried]
        elif tried:
            by_name = facts.presented is not None and facts.presented.by_name
            every = [*tried, *refusals] if by_name else [*refusals, *tried]
            refusals = self._go_on_by_rule(request, facts, every)
        # Order: the claim falls with the commit, before which a grant may have refused; a replay comes first.
        if await self._is_claimed(request, facts):
            at_once = not refusals or step_of(refusals[0].reason) > step_of(Reason.REPLAYED)
            refusals.insert(0 if at_once else len(refusals), Rejected(Reason.REPLAYED))
        return refusals

    def _go_on(self, request: Request, facts: Facts, first: Rejected) -> list[Rejected]:
        """Return the refusals that would follow the first, of a client whose signature was verified."""
        caller = request.notes.caller
        client = caller.registered if caller else facts.client
        if client is None or facts.form is None:
            return []
        facts.judged_to = _LAST
        found: list[Rejected] = []
        if caller is None:
            found += findings.breaches(facts.header, facts.claims, client.rules, facts.now)
            facts.policies = findings.loosened(client, facts.header, facts.claims, facts.now)
        found += self._breaches(facts.form, request, client, facts.claims)
        # This dry run itself has used the proof once.
        known = {first.reason, Reason.DPOP_REPLAYED}
        return [refusal for refusal in found if refusal.reason not in known]

    def _go_on_by_rule(self, request: Request, facts: Facts, found: list[Rejected]) -> list[Rejected]:
        """Return these refusals of a platform's token, each once, and those of its client and its rule."""
        facts.judged_to = _LAST
        chosen = facts.presented.chosen if facts.presented is not None else None
        if chosen is not None and facts.form is not None:
            if facts.client is None:
                found.append(Rejected(Reason.CLIENT_UNKNOWN))
            elif not facts.client.record.enabled:
                found.append(Rejected(Reason.CLIENT_DISABLED))
            else:
                found += self._breaches(facts.form, request, facts.client, {}, (ceiling_of(chosen),))
        each: dict[Reason, Rejected] = {}
        for refusal in found:
            each.setdefault(refusal.reason, refusal)
        return list(each.values())

    def _breaches(
        self,
        form: Form,
        request: Request,
        client: RegisteredClient,
        claims: dict[str, Any],
        ceilings: tuple[Ceiling, ...] = (),
    ) -> list[Rejected]:
        """Return every refusal by the steps of /token after authentication that need no authenticated caller."""
        caller = request.notes.caller
        ceilings = caller.ceilings if caller is not None else ceilings
        signed = claims if form.get("grant_type") == names.JWT_BEARER else {}
        resource = partial(requested.resource, form, signed=signed.get("resource"))
        steps: tuple[Callable[[], object], ...] = (
            lambda: binding.find_certificate(client, self._endpoint.authenticator.find_certificate(request)),
            lambda: self._endpoint.proofs.verify(client, request),
            lambda: check_grant(client, self._endpoint.find_grant(form), by_rule=bool(ceilings)),
            lambda: policy.find_apis(resource(), client, self._directory, ceilings),
            lambda: policy.check_scope(
                requested.scope(form) or requested.parse_scope(signed.get("scope")),
                client,
                policy.find_apis(resource(), client, self._directory, ceilings),
                ceilings,
            ),
        )
        found: dict[Reason, Rejected] = {}
        for step in steps:
            try:
                step()
            except Rejected as refusal:
                found.setdefault(refusal.reason, refusal)
        return list(found.values())

    async def _look_up(self, facts: Facts) -> None:
        for name in facts.names:
            facts.client = facts.client or await self._directory.client(name)
        if facts.client is None and facts.names and not is_platforms(facts.names[0], None):
            facts.near = await near.find(self._store.clients, facts.names[0])
        self._note(facts)

    def _note(self, facts: Facts) -> None:
        facts.apis = self._directory.apis
        facts.token_lifetime = self._endpoint.lifetime(facts.client)

    async def _is_claimed(self, request: Request, facts: Facts) -> bool:
        """Whether this jti was used before, and the request is refused for it."""
        caller, claim = request.notes.caller, request.notes.claim
        if caller is not None and claim is not None:
            until = await self._store.ledger.find_claim(claim.client_id, claim.digest)
            facts.claimed, facts.kept = until is not None, until == claim.expires_at
            if facts.claimed:
                await self._find_earlier(facts, claim.client_id, claim.digest.hex(), None)
            return facts.claimed and not caller.tolerates_repeat
        jti = facts.claims.get("jti")
        if facts.presented is not None:
            return await self._is_token_claimed(facts, facts.presented)
        if facts.client is not None and isinstance(jti, str):  # refused before the claim, as what has expired is
            digest = assertion.digest(jti, whole=facts.text.encode())
            facts.claimed = await self._store.ledger.find_claim(facts.client.client_id, digest) is not None
        return bool(facts.claimed) and facts.judged_to > 0

    async def _is_token_claimed(self, facts: Facts, token: Presented) -> bool:
        """Whether a platform's token that is refused for something else was used before, too."""
        jti, trust = facts.claims.get("jti"), token.trust
        if not isinstance(jti, str) or trust is None or trust.record.replay == REUSED:
            return False
        found = await self._store.ledger.find_claim(claim_owner(trust.name), assertion.digest(jti, whole=b""))
        facts.claimed = found is not None
        return facts.claimed

    async def _find_earlier(
        self, facts: Facts, client_id: str | None, digest: str | None, trace_id: str | None
    ) -> None:
        """Look for the request that used this jti first, among the newest records and as far back as one can live."""
        if client_id is None or digest is None:
            return
        rows, _ = await self._store.audit_log.search([digest.encode()], looked=_SEARCHED)
        for row in rows:
            record = msgspec.json.decode(row.record)
            is_first = record.get("reason") != Reason.REPLAYED.code and row.trace_id != trace_id
            owner = claim_owner(str(record.get("rule") or "").partition("/")[0])
            is_owners = client_id in (record.get("client_id"), owner)
            if is_first and is_owners and record["at"] <= facts.now:
                facts.earlier = record
                return


def _find_token(facts: Facts) -> Foreign | None:
    """Return the platform's token that a request shows in place of an assertion of its client's."""
    if facts.unverified is None or facts.client is not None or tokens.is_access_token(facts):
        return None
    return _foreign(facts.unverified, facts.form.get("client_id") if facts.form else None)


def _find_subject(facts: Facts) -> Foreign | None:
    """Return the platform's token that a request exchanges."""
    text = facts.form.get("subject_token") if facts.form else None
    if text is None:
        return None
    try:
        return _foreign(assertion.parse(text), None)
    except Rejected:
        return None


def _foreign(unverified: Unverified, client_id: str | None) -> Foreign | None:
    try:
        token = Foreign.find(unverified, client_id=client_id)
    except Rejected:  # another kind of JWT
        return None
    is_one = token is not None and is_platforms(token.issuers[-1], unverified.claims.get("sub"))
    return token if is_one else None


def _hint(facts: Facts) -> hints.Hint | None:
    if facts.client is None or facts.unverified is None:
        return None
    return hints.find_for(facts.client, facts.unverified, facts.text, now=facts.now)


async def explain_elsewhere(captured: Captured, server: Metadata, *, now: float) -> Explanation:
    """Return what a server elsewhere would answer, as far as its metadata alone say.

    Steps that depend on the registration of the client are not judged, all others by the strict policies; the first
    that fails is the reason.
    """
    facts = facts_of.read(captured, issuer=server.issuer, now=now)
    if captured.is_bare and tokens.is_access_token(facts):
        return tokens.explain_elsewhere(facts)
    refusals: dict[int, Rejected] = {}
    try:
        form = await http.read_form(captured.scope(), captured.receive)
        shown = ladder.find(Sent(form, captured.scope()["headers"], grant=form.get("grant_type")))
        if isinstance(shown, PlatformToken):  # the trusts of that server are not known
            facts.presented = presented.elsewhere(facts.claims)
            raise shown.token.unknown()
    except Rejected as refusal:
        refusals[refusal.reason.value.step] = refusal
    refusals |= {refusal.reason.value.step: refusal for refusal in _judge_elsewhere(facts, server)}
    first = min(refusals, default=None)
    reason = refusals[first] if first is not None else None
    what = tokens.describe(facts) if reason else ""
    return Explanation(
        accepted=reason is None,
        code=reason.reason.code if reason else None,
        client_id=next(iter(facts.names), None),
        at=now,
        what=what or None,
        lines=tuple(_line(step, first, refusals, facts) for step in STEPS),
        fix=(tokens.fix(facts) or fixes.find(reason, facts)) if reason else None,
    )


def _judge_elsewhere(facts: Facts, server: Metadata) -> list[Rejected]:
    if facts.unverified is None:
        return []
    rules = Rules(issuer=server.issuer, token_endpoint=server.token_endpoint or server.issuer)
    found = findings.breaches(facts.header, facts.claims, rules, facts.now)
    offered = server.raw.get("token_endpoint_auth_signing_alg_values_supported")
    alg = facts.header.get("alg")
    if isinstance(offered, list) and alg not in offered:
        found.append(Rejected(Reason.KEY_ALGORITHM, expected=" or ".join(map(str, offered)), got=str(alg)))
    return found


def _line(step: int, first: int | None, refusals: dict[int, Rejected], facts: Facts) -> Line:
    refusal = refusals.get(step)
    if refusal is not None:
        return failed(step, refusal)
    if step in _KNOWS_REGISTRATION:
        return Line(step, NOT_KNOWN, "depends on the registration")
    if first is not None and first <= 4 and step > first:  # noqa: PLR2004 - after these steps there is no JWT to judge
        return Line(step, NOT_REACHED)
    return Line(step, PASSED if facts.text or step <= 2 else NOT_REACHED)  # noqa: PLR2004
