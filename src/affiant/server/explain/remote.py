"""Explain a request for a server elsewhere, from its metadata alone."""

from __future__ import annotations

from typing import Any

from affiant.errors import Rejected
from affiant.oauth.assertion import Rules
from affiant.oauth.metadata import Metadata
from affiant.reasons import Reason
from affiant.server.client_auth import findings, ladder
from affiant.server.client_auth.method import Sent
from affiant.server.explain import facts as facts_of
from affiant.server.explain import fixes, tokens
from affiant.server.explain.captured import Captured
from affiant.server.explain.explanation import NOT_KNOWN, NOT_REACHED, PASSED, STEPS, Explanation, Line, failed
from affiant.server.explain.facts import Facts
from affiant.server.request import http

_KNOWS_REGISTRATION = frozenset({5, 7, 11, 12})


async def explain(captured: Captured, server: Metadata, *, now: float) -> Explanation:
    """Return what this server would answer, as far as it does not depend on the registration of the client.

    Every step that can be judged is judged, by the strict policies; the first that fails is the reason.
    """
    facts = facts_of.read(captured, issuer=server.issuer, now=now)
    if captured.is_bare and tokens.is_access_token(facts):
        return tokens.explain_elsewhere(facts)
    refusals: dict[int, Rejected] = {}
    try:
        form = await http.read_form(captured.scope(), captured.receive)
        ladder.find(Sent(form, captured.scope()["headers"], grant=form.get("grant_type")))
    except Rejected as refusal:
        refusals[refusal.reason.value.step] = refusal
    refusals |= {refusal.reason.value.step: refusal for refusal in _judge(facts, server)}
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
        fix=(tokens.fix(facts) if what else fixes.find(reason, facts)) if reason else None,
    )


def _judge(facts: Facts, server: Metadata) -> list[Rejected]:
    if facts.unverified is None:
        return []
    rules = Rules(issuer=server.issuer, token_endpoint=server.token_endpoint)
    found = findings.breaches(facts.header, facts.claims, rules, facts.now)
    try:
        _check_algorithm(facts, server.raw)
    except Rejected as refusal:
        found.append(refusal)
    return found


def _check_algorithm(facts: Facts, members: dict[str, Any]) -> None:
    offered = members.get("token_endpoint_auth_signing_alg_values_supported")
    alg = facts.header.get("alg")
    if isinstance(offered, list) and alg not in offered:
        raise Rejected(Reason.KEY_ALGORITHM, expected=" or ".join(map(str, offered)), got=str(alg))


def _line(step: int, first: int | None, refusals: dict[int, Rejected], facts: Facts) -> Line:
    refusal = refusals.get(step)
    if refusal is not None:
        return failed(step, refusal)
    if step in _KNOWS_REGISTRATION:
        return Line(step, NOT_KNOWN, "depends on the registration")
    if first is not None and first <= 4 and step > first:  # noqa: PLR2004 - after these steps there is no JWT to judge
        return Line(step, NOT_REACHED)
    return Line(step, PASSED if facts.text or step <= 2 else NOT_REACHED)  # noqa: PLR2004
