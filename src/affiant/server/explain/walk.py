"""Repeat the ladder for a request without committing, or explain a request from its audit record."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import msgspec

from affiant.errors import Rejected
from affiant.oauth import assertion
from affiant.reasons import Reason
from affiant.server.client_auth import findings
from affiant.server.explain import explanation, hints, inquiry, near, tokens
from affiant.server.explain import facts as facts_of
from affiant.server.explain.captured import Captured
from affiant.server.explain.explanation import Explanation, rung_of
from affiant.server.explain.facts import Facts
from affiant.server.registry.directory import Directory
from affiant.server.request import http
from affiant.server.request.visit import Visit
from affiant.server.token.decision import Decider
from affiant.storage.ports import Store

_LAST, _LAST_OF_CLAIMS = 12, 10  # rungs, as far as a request and its claims are judged
_PAGE, _PAGES = 200, 50  # records that are looked through for the earlier use of a jti
_BY_KEY = range(6, 8)


class Explainer:
    """Explains requests, with the clients and keys of one server; it changes nothing."""

    def __init__(self, issuer: str, decider: Decider, directory: Directory, store: Store) -> None:
        self._issuer = issuer
        self._decider = decider
        self._directory = directory
        self._store = store

    async def explain(self, captured: Captured, *, now: float) -> Explanation:
        """What this server would say to this request at this time."""
        facts = facts_of.read(captured, issuer=self._issuer, now=now)
        await self._look_up(facts)
        if captured.is_bare and tokens.is_access_token(facts):
            return await tokens.explain(facts, self._directory, self._store.revocations)
        visit = Visit("explain", "", now)
        refusals = await self._judge(captured, facts, visit)
        observed = visit.authenticated.observed if visit.authenticated else ()
        found = explanation.build(refusals, facts, observed)
        what = tokens.describe(facts) if refusals else ""
        return replace(found, what=what, fix=tokens.fix(facts), remedy=None) if what else found

    async def explain_record(self, record: dict[str, Any]) -> Explanation:
        """Explain a request from its audit record; the request itself is not kept."""
        facts = facts_of.of_record(record, issuer=self._issuer)
        name = record.get("client_id") or record.get("client_claimed")
        facts.client = await self._directory.client(name) if name else None
        self._note(facts)
        if facts.hint is None and record.get("reason"):
            later = await self._store.audit_log.find(inquiry.trace_id(record["trace_id"]))
            facts.hint = hints.parse(later.get("hint")) if later is not None else None
        if record.get("reason") == Reason.REPLAYED.code:
            facts.claimed = True
            facts.kept = facts.hint.code == hints.KEPT if facts.hint is not None else None
            await self._find_earlier(facts, record.get("client_id"), record.get("jti_digest"), record["trace_id"])
        if (policies := record.get("policies")) is not None:
            facts.judged_to = _LAST_OF_CLAIMS
            facts.policies = dict(p.split("=", 1) for p in policies.split() if "=" in p)
        codes = [code for code in (record.get("reason"), *(record.get("also") or "").split()) if code]
        shown = {name: str(record.get(name) or "") for name in ("expected", "got", "detail")}
        refusals = [
            Rejected(Reason.from_code(code), **(shown if number == 0 else {})) for number, code in enumerate(codes)
        ]
        found = explanation.build(refusals, facts, tuple((record.get("observed") or "").split()))
        return explanation.of_record(found, record)

    async def _judge(self, captured: Captured, facts: Facts, visit: Visit) -> list[Rejected]:
        """Return every refusal of this request; the first is the one that the caller would get."""
        try:
            form = await http.read_form(captured.scope(), captured.receive)
        except Rejected as refusal:
            return [refusal]
        refusals: list[Rejected] = []
        try:
            await self._decider.decide(form, captured.scope(), visit)
        except Rejected as refusal:
            refusals.append(refusal)
        if refusals and refusals[0].reason.value.rung in _BY_KEY:
            facts.hint = _hint(facts)
        has_verified = visit.findings is not None and visit.findings.policies is not None
        if refusals and (visit.authenticated is not None or has_verified):
            refusals += self._go_on(captured, facts, visit, refusals[0])
        # The claim falls with the commit, before which a grant may have refused; a replay is what the caller is told.
        if await self._is_claimed(visit, facts):
            at_once = not refusals or rung_of(refusals[0].reason) > rung_of(Reason.REPLAYED)
            refusals.insert(0 if at_once else len(refusals), Rejected(Reason.REPLAYED))
        return refusals

    def _go_on(self, captured: Captured, facts: Facts, visit: Visit, first: Rejected) -> list[Rejected]:
        """Return the refusals of an authenticated client's request."""
        client = visit.authenticated.client if visit.authenticated else facts.client
        if client is None or facts.form is None:
            return []
        facts.judged_to = _LAST
        found: list[Rejected] = []
        if visit.authenticated is None:
            found += findings.breaches(facts.header, facts.claims, client.rules, facts.now)
            facts.policies = findings.loosened(client, facts.header, facts.claims, facts.now)
        found += self._decider.breaches(facts.form, captured.scope(), client, visit, facts.claims)
        # This walk itself has used the proof once.
        known = {first.reason, Reason.DPOP_REPLAYED}
        return [refusal for refusal in found if refusal.reason not in known]

    async def _look_up(self, facts: Facts) -> None:
        for name in facts.names:
            facts.client = facts.client or await self._directory.client(name)
        if facts.client is None and facts.names:
            facts.near = await near.find(self._store.clients, facts.names[0])
        self._note(facts)

    def _note(self, facts: Facts) -> None:
        facts.apis = self._directory.apis
        facts.token_lifetime = self._decider.lifetime(facts.client)

    async def _is_claimed(self, visit: Visit, facts: Facts) -> bool:
        """Whether this jti was used before, where that refuses the request."""
        who = visit.authenticated
        if who is not None and who.claim is not None:
            claim = who.claim
            until = await self._store.ledger.find_claim(claim.client_id, claim.digest)
            facts.claimed, facts.kept = until is not None, until == claim.expires_at
            if facts.claimed:
                await self._find_earlier(facts, claim.client_id, visit.record().jti_digest, None)
            return facts.claimed and not who.tolerates_repeat
        jti = facts.claims.get("jti")
        if facts.client is not None and isinstance(jti, str):  # refused before the claim, as what has expired is
            digest = assertion.digest(jti, whole=facts.text.encode())
            facts.claimed = await self._store.ledger.find_claim(facts.client.client_id, digest) is not None
        return bool(facts.claimed) and facts.judged_to > 0

    async def _find_earlier(
        self, facts: Facts, client_id: str | None, digest: str | None, trace_id: str | None
    ) -> None:
        """Look for the request that used this jti first, among the newest records and as far back as one can live."""
        if client_id is None or digest is None:
            return
        before, wanted = None, digest.encode()
        for _ in range(_PAGES):
            rows = await self._store.audit_log.newest(before=before, limit=_PAGE)
            for row in (row for row in rows if wanted in row.record):
                record = msgspec.json.decode(row.record)
                is_first = record.get("reason") != Reason.REPLAYED.code and row.trace_id != trace_id
                if is_first and record.get("client_id") == client_id and record["at"] <= facts.now:
                    facts.earlier = record
                    return
            if len(rows) < _PAGE:
                return
            before = rows[-1].number
            await asyncio.sleep(0)  # SQLite answers without yielding to the loop; let other requests run


def _hint(facts: Facts) -> hints.Hint | None:
    if facts.client is None or facts.unverified is None:
        return None
    keys, secrets = facts.client.keys.usable(facts.now), [key for key, _ in facts.client.macs]
    return hints.find(keys, secrets, facts.unverified, facts.text)
