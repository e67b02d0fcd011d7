"""The explanation of a token: the steps of a check in their order, and where it stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from affiant.errors import Rejected, RemoteError
from affiant.errors.reasons import Reason
from affiant.oauth import resource_request

PASSED, FAILED, NOT_REACHED, NOT_KNOWN = "passed", "failed", "not reached", "not known"
KEY, CLAIMS, BINDING, REVOCATION, SCOPE = "key", "claims", "binding", "revocation", "scope"
_MARKS = {PASSED: "\u2713", FAILED: "\u2717", NOT_REACHED: "\u2013", NOT_KNOWN: "?"}
_LONGEST = 200  # characters of a value that is shown
# The steps in their order, each with the parts of the token that it judges.
_PARTS: dict[str, tuple[str, ...]] = {
    "form": (),
    "algorithm": ("alg",),
    KEY: ("kid",),
    "signature": (),
    "type": ("typ",),
    "issuer": ("iss",),
    "audience": ("aud",),
    CLAIMS: ("client_id", "sub", "jti"),
    "time": ("iat", "exp"),
    BINDING: ("cnf",),
    REVOCATION: (),
    SCOPE: ("scope",),
}
_STEP_OF = {
    Reason.TOKEN_MISSING: "form",
    Reason.TOKEN_REQUEST: "form",
    Reason.TOKEN_MALFORMED: "form",
    Reason.TOKEN_ALGORITHM: "algorithm",
    Reason.TOKEN_KEY: KEY,
    Reason.TOKEN_SIGNATURE: "signature",
    Reason.TOKEN_TYPE: "type",
    Reason.TOKEN_ISSUER: "issuer",
    Reason.TOKEN_AUDIENCE: "audience",
    Reason.TOKEN_EXPIRED: "time",
    Reason.TOKEN_NOT_YET_VALID: "time",
    Reason.TOKEN_BINDING: BINDING,
    Reason.TOKEN_UNBOUND: BINDING,
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a check.

    Attributes:
        name: of the step.
        mark: ``passed``, ``failed``, ``not reached`` or ``not known``.
        seen: what the token says about it; anybody can have written it until the signature has passed.
        expected: what would have passed, if the step failed.
        note: why the step failed, or why its outcome is not known.
        rule: the paragraph that demands it, if the step failed.
    """

    name: str
    mark: str
    seen: str = ""
    expected: str = ""
    note: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The steps of a check of one token, and where it stops. As text, it has a line for each step.

    Attributes:
        is_valid: whether the guard would accept it, with a proof if it is bound; None if the guard cannot tell now.
        reason: why not, by the first step that failed.
        steps: in the order of a check.
    """

    is_valid: bool | None
    reason: Reason | None
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        """Return the steps as `affiant explain` prints them."""
        verdict = "valid" if self.is_valid else "not known"
        lines = [line for number, step in enumerate(self.steps, 1) for line in _lines(number, step)]
        if self.reason is not None:
            verdict = f"refused: {self.reason.code}"
            lines += ["", f"   fix         {self.reason.value.fix}"]
        return "\n".join([verdict, "", *lines])


@dataclass(frozen=True, slots=True)
class Stop:
    """A step that did not pass. `is_open`: what its outcome would be is not known."""

    step: str
    error: Rejected | RemoteError
    is_open: bool


def step_of(reason: Reason) -> str:
    """Return the step of a reason for which a token is refused before its revocation is judged."""
    return _STEP_OF.get(reason, CLAIMS)


def build(text: str, held: Stop | None, ended: Stop | None, *, is_issuer_first: bool) -> Explanation:
    """Return the explanation of a token with this text.

    `held` is why it would not be admitted, `ended` what ended the check. A guard with several issuers finds that of the
    token first.
    """
    names = list(_PARTS)
    if is_issuer_first:
        names.remove("issuer")
        names.insert(1, "issuer")
    stops = {stop.step: stop for stop in (ended, held) if stop is not None}
    last = names.index(ended.step) if ended is not None else len(names)
    # From the step that held it to the binding, which is the last one that admits a token, no other was reached.
    unreached = names[names.index(held.step) : names.index(BINDING) + 1] if held is not None else []
    members = _read(text)
    steps = []
    for number, name in enumerate(names):
        seen = ", ".join(_shown(members, part) for part in _PARTS[name]) if members else ""
        if name in stops:
            steps.append(_stopped(stops[name], seen))
        else:
            steps.append(Step(name, NOT_REACHED if number > last or name in unreached else PASSED, seen))
    failed = [stops[step.name].error for step in steps if step.mark == FAILED]
    reason = next((error.reason for error in failed if isinstance(error, Rejected)), None)
    is_known = reason is not None or all(isinstance(stop.error, Rejected) for stop in stops.values())
    return Explanation(reason is None if is_known else None, reason, tuple(steps))


def _stopped(stop: Stop, seen: str) -> Step:
    if not isinstance(stop.error, Rejected):
        return Step(stop.step, NOT_KNOWN, seen, note=str(stop.error))
    row, detail = stop.error.reason.value, stop.error.detail
    if stop.is_open:
        return Step(
            stop.step, NOT_KNOWN, seen, note="a request must prove that its sender has what the token is bound to"
        )
    note = f"{row.sentence}: {detail}" if detail else row.sentence
    return Step(stop.step, FAILED, seen, stop.error.expected, note, row.source)


def _lines(number: int, step: Step) -> Iterator[str]:
    yield f" {_MARKS[step.mark]} {number:>2} {step.name:<12} {step.seen}".rstrip()
    for name, text in (("why", step.note), ("expected", step.expected), ("rule", step.rule)):
        if text:
            yield f"      {name:<12} {text}"


def _read(text: str) -> dict[str, Any]:
    """Return what a token says. Nothing of it is verified."""
    try:
        unverified = resource_request.parse(text)
    except Rejected:
        return {}
    return {**unverified.claims, **{name: unverified.header.get(name) for name in ("alg", "kid", "typ")}}


def _shown(members: dict[str, Any], name: str) -> str:
    value = members.get(name)
    return f"no {name}" if value is None else f"{name} {value!r}"[:_LONGEST]
