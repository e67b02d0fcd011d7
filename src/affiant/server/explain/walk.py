"""The ladder as somebody sees it who asks why: each rung with what was expected, what came, and what to change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from affiant.errors import Rejected
from affiant.oauth import assertion, names
from affiant.reasons import Reason
from affiant.server.client_auth import tls_client
from affiant.server.explain import facts as facts_of
from affiant.server.explain import fixes, near
from affiant.server.registry.remote_keys import NOT_FETCHED
from affiant.server.request import http
from affiant.server.request.visit import Visit

if TYPE_CHECKING:
    from collections.abc import Callable

    from affiant.server.explain.captured import Captured
    from affiant.server.explain.facts import Facts
    from affiant.server.explain.fixes import Fix
    from affiant.server.registry.directory import Directory
    from affiant.server.token.decision import Decider
    from affiant.storage.ports import Clients, Ledger

RUNGS = {
    1: "form",
    2: "one way",
    3: "compact JWS",
    4: "names",
    5: "client",
    6: "key",
    7: "proof",
    8: "audience",
    9: "time",
    10: "jti",
    11: "first use",
    12: "grant",
}
PASSED, FAILED, NOT_REACHED, NOT_KNOWN = "passed", "failed", "not reached", "not known"
_PROVED_BY_SECRET = frozenset({1, 2, 5, 7, 12})


@dataclass(frozen=True, slots=True)
class Line:
    """One rung: `mark` is PASSED, FAILED, NOT_REACHED or NOT_KNOWN; `note` says what was looked at."""

    rung: int
    mark: str
    note: str = ""
    expected: str = ""
    got: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What became of a request, or would become of it.

    Attributes:
        lines: every rung, in order.
        reason: why it is refused; None where it is not.
        fix: the first thing to change.
        client_id: the client that it names.
        at: the time that it was judged by, in seconds since the epoch.
        detail: what only the operator may know.
        observed: codes of what stricter policies would have refused.
    """

    lines: tuple[Line, ...]
    reason: Reason | None
    fix: Fix | None
    client_id: str | None
    at: float
    detail: str = ""
    observed: tuple[str, ...] = ()


class Explainer:
    """Walks the ladder of this server, with its clients and keys; it changes nothing."""

    def __init__(self, issuer: str, decider: Decider, directory: Directory, ledger: Ledger, clients: Clients) -> None:
        self._issuer = issuer
        self._decider = decider
        self._directory = directory
        self._ledger = ledger
        self._clients = clients

    async def explain(self, captured: Captured, *, now: float) -> Explanation:
        """What this server would say to this request at this time.

        Raises:
            StoreError: the store does not answer.
        """
        visit = Visit("explain", "", now)
        refusal: Rejected | None = None
        try:
            form = await http.read_form(captured.scope(), captured.receive)
            await self._decider.decide(form, captured.scope(), visit)
        except Rejected as found:
            refusal = found
        facts = facts_of.read(captured, issuer=self._issuer, now=now)
        await self._look_up(facts)
        # The claim falls with the commit, before which a grant may have refused; that one is told, as on the wire.
        if await self._is_claimed(visit, facts) and (refusal is None or _rung(refusal.reason) > max(_LADDER)):
            refusal = Rejected(Reason.REPLAYED)
        return _explanation(refusal, facts, visit)

    async def _look_up(self, facts: Facts) -> None:
        for name in facts.names:
            facts.client = facts.client or await self._directory.client(name)
        if facts.client is None and facts.names:
            facts.near = await near.find(self._clients, facts.names[0])

    async def _is_claimed(self, visit: Visit, facts: Facts) -> bool:
        if visit.authenticated is not None and visit.authenticated.claim is not None:
            claim = visit.authenticated.claim
            until = await self._ledger.find_claim(claim.client_id, claim.digest)
            facts.claimed = until is not None
            return facts.claimed and not visit.authenticated.tolerates_repeat
        jti = facts.claims.get("jti")
        if facts.client is not None and isinstance(jti, str):  # refused before the claim, as what has expired is
            digest = assertion.digest(jti, whole=facts.text.encode())
            facts.claimed = await self._ledger.find_claim(facts.client.client_id, digest) is not None
        return False


_LADDER = range(1, 12)


def _rung(reason: Reason) -> int:
    """Reasons outside the ladder fall behind it, when the grant is judged; a few of the form come before it."""
    if reason in (Reason.GRANT_UNSUPPORTED, Reason.MISSING_PARAMETER):
        return 1
    return reason.value.rung or 12


def _explanation(refusal: Rejected | None, facts: Facts, visit: Visit) -> Explanation:
    by_secret = not facts.text
    lines = []
    for rung in RUNGS:
        if refusal is None or rung < _rung(refusal.reason):
            skipped = by_secret and rung not in _PROVED_BY_SECRET
            passed = Line(rung, PASSED, _note(rung, facts))
            line = Line(rung, NOT_REACHED, "only for an assertion") if skipped else passed
        elif rung == _rung(refusal.reason):
            line = _failed(rung, refusal)
        else:
            line = Line(rung, NOT_REACHED, _note(rung, facts))
        lines.append(line)
    return Explanation(
        lines=tuple(lines),
        reason=refusal.reason if refusal else None,
        fix=fixes.find(refusal, facts) if refusal else None,
        client_id=next(iter(facts.names), None),
        at=facts.now,
        detail=refusal.detail if refusal else "",
        observed=visit.authenticated.observed if visit.authenticated else (),
    )


def _failed(rung: int, refusal: Rejected) -> Line:
    if refusal.detail == NOT_FETCHED:
        return Line(rung, NOT_KNOWN, "only the running server knows what its jwks_uri lists")
    row = refusal.reason.value
    return Line(rung, FAILED, row.sentence, refusal.expected, refusal.got, row.source)


def _note(rung: int, facts: Facts) -> str:
    made = _NOTES.get(rung)
    # Of an assertion that cannot be read there is nothing to say but its length.
    can_say = facts.unverified is not None or rung in (1, 2, 3, 5, 12)
    return made(facts) if made is not None and can_say else ""


def _note_way(facts: Facts) -> str:
    sent = ("client_assertion", "assertion", "client_secret")
    return " and ".join(name for name in sent if facts.form and facts.form.get(name) is not None)


def _shown(members: dict[str, Any], name: str) -> str:
    return repr(members[name])[:120] if name in members else "absent"


def _note_client(facts: Facts) -> str:
    if facts.client is None:
        return ""
    record = facts.client.record
    state = "enabled" if record.enabled else "disabled"
    return f"{record.client_id}, {record.token_endpoint_auth_method}, {state}"


def _note_target(facts: Facts) -> str:
    """Name the API that is asked for, by whichever name it was sent."""
    for name in ("resource", "audience"):
        if facts.form and (values := facts.form.all(name)):
            return f"{'resource' if name == 'resource' else 'resource (sent as audience)'} {' '.join(values)[:200]}"
    return ""


def _note_time(facts: Facts) -> str:
    exp = facts.claims.get("exp")
    if isinstance(exp, bool) or not isinstance(exp, int | float):
        return ""
    seconds = int(exp - facts.now)
    return f"exp in {seconds} s" if seconds >= 0 else f"exp {-seconds} s ago"


_NOTES: dict[int, Callable[[Facts], str]] = {
    1: lambda facts: f"grant_type={facts.form.get('grant_type') or ''}" if facts.form else "",
    2: _note_way,
    3: lambda facts: f"{len(facts.text)} characters" if facts.text else "",
    4: lambda facts: f"iss {_shown(facts.claims, 'iss')}, sub {_shown(facts.claims, 'sub')}",
    5: _note_client,
    6: lambda facts: f"alg {_shown(facts.header, 'alg')}, kid {_shown(facts.header, 'kid')}",
    8: lambda facts: f"aud {_shown(facts.claims, 'aud')}",
    9: _note_time,
    10: lambda facts: f"jti {_shown(facts.claims, 'jti')}",
    12: _note_target,
}


def members(found: Explanation) -> dict[str, Any]:
    """The same as members of a JSON object."""
    row = found.reason.value if found.reason else None
    lines = [
        {name: getattr(line, name) for name in ("rung", "mark", "note", "expected", "got", "source")}
        | {"name": RUNGS[line.rung]}
        for line in found.lines
    ]
    fix = {"line": found.fix.line, "why": found.fix.why, "is_command": found.fix.is_command} if found.fix else None
    return {
        "accepted": found.reason is None,
        "reason": row.code if row else None,
        "client_id": found.client_id,
        "at": found.at,
        "ladder": lines,
        "fix": fix,
        "detail": found.detail or None,
        "observed": list(found.observed),
    }


def recorded(record: dict[str, Any], *, issuer: str) -> Explanation:
    """What the audit log has of a request; the request itself stands nowhere."""
    code = record.get("reason")
    facts = facts_of.Facts(issuer, float(record["at"]))
    refusal = None
    if code is not None:
        expected, got, detail = (str(record.get(name) or "") for name in ("expected", "got", "detail"))
        refusal = Rejected(Reason.from_code(code), expected=expected, got=got, detail=detail)
    visit = Visit(record["endpoint"], record.get("address") or "", facts.now)
    found = _explanation(refusal, facts, visit)
    known = {5: record.get("client_id"), 6: record.get("kid"), 12: record.get("scope")}
    without_assertion = (names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST, *tls_client.METHODS)
    by_secret = record.get("method") in without_assertion
    lines = tuple(_of_record(line, str(known.get(line.rung) or ""), by_secret=by_secret) for line in found.lines)
    client_id = record.get("client_id") or record.get("client_claimed")
    return replace(found, lines=lines, client_id=client_id, observed=tuple((record.get("observed") or "").split()))


def _of_record(line: Line, note: str, *, by_secret: bool) -> Line:
    if line.mark == FAILED or (by_secret and line.rung not in _PROVED_BY_SECRET):
        return line
    mark = PASSED if line.note == "only for an assertion" else line.mark
    return replace(line, mark=mark, note=note if mark == PASSED else "")
