"""The explanation of a request: each step with what was expected and sent, the fix, and what else is wrong.

Its fields have the names of the JSON that the admin API and `affiant explain --json` return.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.server.client_auth.methods import METHODS
from affiant.server.explain import fixes
from affiant.server.explain.facts import Facts
from affiant.server.explain.federation.presented import Presented
from affiant.server.explain.fix import Fix
from affiant.server.explain.granted import Granted
from affiant.server.registry.federation.nearest import Nearest
from affiant.server.registry.key_cache import NOT_FETCHED

STEPS = {
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
_SIGNATURE, _RULE = 7, 10
_NAMES_OF_PLATFORM = {4: "issuer", _SIGNATURE: "signature", _RULE: "rule"}
PASSED, FAILED, NOT_REACHED, NOT_KNOWN = "passed", "failed", "not reached", "not known"
_PROVED_BY_SECRET = frozenset({1, 2, 5, 7, 12})
_ONLY_FOR_ASSERTIONS = "only for an assertion"
_WITHOUT_ASSERTION = {name for method in METHODS for name in method.places if name not in method.algorithms}


class Line(msgspec.Struct, rename={"step": "rung"}):
    """One step: `mark` is PASSED, FAILED, NOT_REACHED or NOT_KNOWN; `note` is what was judged."""

    step: int
    mark: str
    note: str = ""
    expected: str = ""
    got: str = ""
    source: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or STEPS[self.step]


class Also(msgspec.Struct, rename={"code": "reason"}):
    """Another reason for which the same request would be refused."""

    code: str
    expected: str = ""
    got: str = ""
    fix: Fix | None = None

    @property
    def reason(self) -> Reason:
        return Reason.from_code(self.code)


class Explanation(msgspec.Struct, kw_only=True, rename={"code": "reason", "lines": "ladder"}):
    """The outcome of a request, past or possible."""

    accepted: bool
    code: str | None  # of the reason for the refusal
    client_id: str | None  # the client that it names
    at: float  # by which it was judged, in seconds since the epoch
    what: str | None = None  # what was given, if it is no client assertion
    lines: tuple[Line, ...]
    fix: Fix | None  # the first thing to change
    remedy: Fix | None = None  # the operator's command that makes the server accept it; without a line if none does
    also: tuple[Also, ...] = ()  # the reasons that would follow once the first one is fixed
    detail: str | None = None  # for the operator only
    trust: str | None = None  # of the platform's token that was presented
    rules: tuple[Nearest, ...] = ()  # of that trust, compared with the token, the nearest first
    granted: Granted | None = None  # by an accepted request
    observed: tuple[str, ...] = ()  # codes of what stricter policies would have refused

    @property
    def reason(self) -> Reason | None:
        return Reason.from_code(self.code) if self.code else None


def step_of(reason: Reason) -> int:
    """Return the step of a reason. A reason without one belongs to the grant, a few to the form."""
    if reason in (Reason.GRANT_UNSUPPORTED, Reason.MISSING_PARAMETER):
        return 1
    return reason.value.step or 12


def build(refusals: Sequence[Rejected], facts: Facts, observed: tuple[str, ...] = ()) -> Explanation:
    """Explain a request that is refused for the first of these refusals; accepted if there is none."""
    refusal = refusals[0] if refusals else None
    fix, remedy = fixes.find(refusal, facts) if refusal else None, fixes.find_setting(refusals, facts)
    return Explanation(
        accepted=refusal is None,
        code=refusal.reason.code if refusal else None,
        client_id=next(iter(facts.names), None),
        at=facts.now,
        lines=_lines(refusals, facts),
        fix=fix,
        remedy=remedy if remedy and fix and remedy.line != fix.line else None,
        also=tuple(Also(o.reason.code, o.expected, o.got, fixes.find(o, facts)) for o in refusals[1:]),
        detail=refusal.detail or None if refusal else None,
        trust=facts.presented.trust.name if facts.presented and facts.presented.trust else None,
        rules=facts.presented.rules if facts.presented else (),
        granted=facts.granted if refusal is None else None,
        observed=observed,
    )


def of_another_version(code: str, also: Sequence[Rejected], facts: Facts, detail: str) -> Explanation:
    """Explain a recorded refusal whose reason this version does not know: no step of it is known."""
    found = build(also, facts)
    return replace(
        found,
        accepted=False,
        code=code,
        lines=tuple(Line(line.step, NOT_KNOWN, name=line.name) for line in found.lines),
        fix=None,
        remedy=Fix("", "another version of affiant has recorded this reason, which this one does not know"),
        also=tuple(Also(one.reason.code) for one in also),
        detail=detail or None,
        granted=None,
    )


def _lines(refusals: Sequence[Rejected], facts: Facts) -> tuple[Line, ...]:
    by_secret = not facts.text
    by_step = {step_of(refusal.reason): refusal for refusal in reversed(refusals)}
    first = step_of(refusals[0].reason) if refusals else max(STEPS) + 1
    lines = []
    for step in STEPS:
        if step in by_step:
            line = _failed(step, by_step[step])
        elif by_secret and step not in _PROVED_BY_SECRET and step < first:
            line = Line(step, NOT_REACHED, _ONLY_FOR_ASSERTIONS)
        elif step < first or step <= facts.judged_to:
            line = Line(step, PASSED, _note(step, facts))
        else:
            line = Line(step, NOT_REACHED, _note(step, facts))
        is_own = facts.presented is None or facts.presented.as_subject
        lines.append(line if is_own or facts.presented is None else _of_platform(line, facts.presented))
    return tuple(lines)


def _of_platform(line: Line, presented: Presented) -> Line:
    """Return the line with the name that the step has for a platform's token."""
    is_rule = line.step == _RULE and line.mark == PASSED
    if line.step == _SIGNATURE and line.mark == PASSED and not presented.is_verified:
        line = replace(line, mark=NOT_REACHED)  # without a key, what follows was judged all the same
    note = presented.chosen.path if is_rule and presented.chosen is not None else line.note
    return replace(line, name=_NAMES_OF_PLATFORM.get(line.step, line.name), note=note)


def _failed(step: int, refusal: Rejected) -> Line:
    if refusal.detail == NOT_FETCHED:
        return Line(step, NOT_KNOWN, "only the running server knows what its jwks_uri lists")
    return failed(step, refusal)


def failed(step: int, refusal: Rejected) -> Line:
    row = refusal.reason.value
    return Line(step, FAILED, row.sentence, refusal.expected, refusal.got, row.source)


def _note(step: int, facts: Facts) -> str:
    made = _NOTES.get(step)
    # For an assertion that cannot be parsed, only its length is known.
    can_say = facts.unverified is not None or step in (1, 2, 3, 5, 12)
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
    """Return the requested API, sent as `resource` or `audience`."""
    for name in ("resource", "audience"):
        if facts.form and (values := facts.form.all(name)):
            return f"{'resource' if name == 'resource' else 'resource (sent as audience)'} {' '.join(values)[:200]}"
    return ""


def note_time(claims: dict[str, Any], now: float) -> str:
    """Return in words when these claims expire."""
    exp = claims.get("exp")
    if isinstance(exp, bool) or not isinstance(exp, int | float):
        return ""
    seconds = int(exp - now)
    return f"exp in {seconds} s" if seconds >= 0 else f"exp {-seconds} s ago"


_NOTES: dict[int, Callable[[Facts], str]] = {
    1: lambda facts: f"grant_type={facts.form.get('grant_type') or ''}" if facts.form else "",
    2: _note_way,
    3: lambda facts: f"{len(facts.text)} characters" if facts.text else "",
    4: lambda facts: f"iss {_shown(facts.claims, 'iss')}, sub {_shown(facts.claims, 'sub')}",
    5: _note_client,
    6: lambda facts: f"alg {_shown(facts.header, 'alg')}, kid {_shown(facts.header, 'kid')}",
    8: lambda facts: f"aud {_shown(facts.claims, 'aud')}",
    9: lambda facts: note_time(facts.claims, facts.now),
    10: lambda facts: f"jti {_shown(facts.claims, 'jti')}",
    12: _note_target,
}


def of_record(found: Explanation, record: dict[str, Any]) -> Explanation:
    """Replace the notes of an explanation by the members of an audit record."""
    known = {5: record.get("client_id"), 6: record.get("kid"), 12: record.get("scope")}
    by_secret = record.get("method") in _WITHOUT_ASSERTION
    lines = tuple(_of_record(line, str(known.get(line.step) or ""), by_secret=by_secret) for line in found.lines)
    client_id = record.get("client_id") or record.get("client_claimed")
    return replace(found, lines=lines, client_id=client_id)


def _of_record(line: Line, note: str, *, by_secret: bool) -> Line:
    if line.mark == FAILED or (by_secret and line.step not in _PROVED_BY_SECRET):
        return line
    mark = PASSED if line.note == _ONLY_FOR_ASSERTIONS else line.mark
    return replace(line, mark=mark, note=note if mark == PASSED else "")
