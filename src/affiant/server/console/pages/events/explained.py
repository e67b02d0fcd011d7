"""An explanation as a page shows it: one sentence, the ladder, the fix in each language, and how to mend it here."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

from affiant.errors.reasons import Reason
from affiant.server.admin.roles import Role
from affiant.server.console.api import Refusal
from affiant.server.console.pages.events import languages
from affiant.server.console.show.commands import reading
from affiant.server.console.view import View
from affiant.server.explain.explanation import FAILED, NOT_KNOWN, NOT_REACHED, PASSED

MARKS = {
    PASSED: ("\u2713", "good"),
    FAILED: ("\u2717", "bad"),
    NOT_REACHED: ("\u2013", "soft"),
    NOT_KNOWN: ("?", "warn"),
}
_BY_KEY = frozenset({Reason.KEY_UNKNOWN, Reason.KEY_NONE, Reason.SIGNATURE})
# The members, of the JWT or of the record, that a reason is about.
_WRONG = {
    Reason.JWT_TYP: "typ", Reason.TYP_EXPLICIT: "typ", Reason.TOKEN_TYPE: "typ",
    Reason.JWT_KID: "kid", Reason.KEY_UNKNOWN: "kid", Reason.TOKEN_KEY: "kid", Reason.TRUST_KEY_UNKNOWN: "kid",
    Reason.JWT_ALG: "alg", Reason.KEY_ALGORITHM: "alg", Reason.KEY_NONE: "alg kid",
    Reason.JWT_CRIT: "crit b64", Reason.JKU: "jku",
    Reason.ISS_SUB: "iss sub client_claimed", Reason.CLIENT_ID: "iss sub client_id client_claimed",
    Reason.CLIENT_UNKNOWN: "iss sub client_claimed", Reason.TRUST_UNKNOWN: "iss issuer", Reason.TOKEN_ISSUER: "iss",
    Reason.AUDIENCE: "aud", Reason.TRUST_AUDIENCE: "aud", Reason.TOKEN_AUDIENCE: "aud",
    Reason.EXP_MISSING: "exp", Reason.EXPIRED: "exp", Reason.TOKEN_EXPIRED: "exp", Reason.TRUST_LIFETIME: "exp iat",
    Reason.LIFETIME: "exp", Reason.TIME_CLAIM: "exp iat nbf", Reason.NOT_YET: "nbf", Reason.TOKEN_NOT_YET_VALID: "nbf",
    Reason.IAT_FUTURE: "iat", Reason.IAT_OLD: "iat", Reason.JTI: "jti", Reason.REPLAYED: "jti jti_digest",
    Reason.SCOPE_NOT_ALLOWED: "scope", Reason.SCOPE_MALFORMED: "scope", Reason.GRANT_NOT_ALLOWED: "grant",
    Reason.RESOURCE_NOT_ALLOWED: "resource", Reason.RESOURCE_MALFORMED: "resource", Reason.RESOURCE_MISSING: "resource",
}  # fmt: skip


class Mend(NamedTuple):
    """A command that lets the request through; with `can_run`, a button sends it, if `etag` is still that of now."""

    line: str
    why: str
    can_run: bool
    etag: str | None


class Explained(NamedTuple):
    """An explanation (`documents.Explanation`), and what pages say in addition."""

    found: dict[str, Any]
    sentence: str
    wrong: frozenset[str]
    mends: list[Mend]
    wants_key: bool  # whether a key of the client has to be registered
    wants_client: str | None  # the name of a client that has to be registered
    language: str
    fixes: dict[str, str]  # the fix by language, where it can be written in one
    also: list[tuple[dict[str, Any], str]]  # further reasons, each with its sentence


async def explain(view: View, found: dict[str, Any]) -> Explained:
    """Return what pages show of this explanation."""
    reason = Reason.from_code(found["reason"]) if found["reason"] else None
    others = [(one, Reason.from_code(one["reason"]).value.sentence) for one in found["also"]]
    codes = [*([found["reason"]] if reason else []), *(one["reason"] for one in found["also"])]
    wrong = frozenset(name for code in codes for name in _WRONG.get(Reason.from_code(code), "").split())
    line = found["fix"]["line"] if found["fix"] else ""
    written = {name: languages.write(line, name, found["client_id"]) for name in languages.NAMES}
    wanted = view.query.text("language") or view.form.text("language")
    return Explained(
        found=found,
        sentence=_sentence(found, reason),
        wrong=wrong,
        mends=await _mends(view, found),
        wants_key=reason in _BY_KEY and found["client_id"] is not None and "--public-key" in line,
        wants_client=found["client_id"] if reason is Reason.CLIENT_UNKNOWN else None,
        language=wanted if wanted in languages.NAMES else "python",
        fixes={name: text for name, text in written.items() if text is not None},
        also=others,
    )


def _sentence(found: dict[str, Any], reason: Reason | None) -> str:
    who = found["client_id"] or "a caller that names no client"
    if reason is None:
        granted = found["granted"]
        if granted is None:
            return f"The request of {who} was accepted."
        scope = " ".join(granted["scope"]) or "no scope"
        return f"{who} gets {scope} at {' and '.join(granted['resource'])} for {granted['lifetime']} seconds."
    failed = next((line for line in found["ladder"] if line["mark"] == FAILED), None)
    details = [f"{name} {failed[name]}" for name in ("expected", "got") if failed and failed[name]]
    return f"{who} is refused: {'; '.join([reason.value.sentence, *details])}."


async def _mends(view: View, found: dict[str, Any]) -> list[Mend]:
    """Return the operator's commands, the first one that of the explanation itself."""
    offered = [found["remedy"], found["fix"], *(one["fix"] for one in found["also"])]
    lines = {one["line"]: one["why"] for one in offered if one and one["line"].startswith("affiant ")}
    may_run = view.visitor.role.includes(Role.OPERATOR)
    mends: list[Mend] = []
    for line, why in lines.items():
        ask, etag = reading.read(line), None
        if ask is not None:
            with contextlib.suppress(Refusal):
                etag = (await view.api.read(ask.path)).etag
        mends.append(Mend(line, why, ask is not None and may_run, etag))
    return mends
