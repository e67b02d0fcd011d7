"""Explain JWTs that are no client assertion: judge access tokens as a guard would, and name those of other systems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.claims import LEEWAY, audiences, media_type, text
from affiant.jose.compact import Verified
from affiant.oauth import access_token, names
from affiant.oauth.revocations import FOREIGN
from affiant.server.explain.explanation import FAILED, NOT_KNOWN, NOT_REACHED, PASSED, Explanation, Line, note_time
from affiant.server.explain.facts import Facts
from affiant.server.explain.fix import Fix
from affiant.server.registry.directory import Directory
from affiant.server.registry.federation.platforms import GENERIC
from affiant.server.token import active
from affiant.storage.ports import Revocations

_AT = names.ACCESS_TOKEN_TYP
_STEPS = ("issuer", "key", "signature", "type", "API", "time", "claims", "revocation", "binding")
_STEP_OF = {
    Reason.TOKEN_ISSUER: "issuer",
    Reason.TOKEN_KEY: "key",
    Reason.SIGNATURE: "signature",
    Reason.KEY_ALGORITHM: "signature",
    Reason.TOKEN_SIGNATURE: "signature",
    Reason.TOKEN_TYPE: "type",
    Reason.TOKEN_AUDIENCE: "API",
    Reason.TOKEN_EXPIRED: "time",
    Reason.TOKEN_NOT_YET_VALID: "time",
    Reason.TOKEN_CLAIM: "claims",
    Reason.TOKEN_BINDING: "claims",
    Reason.TOKEN_REVOKED: "revocation",
}
_SHOW = Fix('headers["Authorization"] = "Bearer " + token', "show it to the API that it is for, not to /token")
_NEW_CLIENT = "affiant client new NAME --public-key PUBLIC_KEY_FILE"
_FOREIGN = "no server takes it in place of an assertion"


def is_access_token(facts: Facts) -> bool:
    """Whether this is an access token, by its type or issuer; a JWT with iss equal to sub is an assertion."""
    typ, claims = media_type(facts.header.get("typ")), facts.claims
    is_ours = claims.get("iss") == facts.issuer and typ in (None, "jwt") and "client_id" in claims
    return (typ == names.ACCESS_TOKEN_TYP or is_ours) and claims.get("iss") != claims.get("sub")


def describe(facts: Facts) -> str:
    """Return one sentence about a JWT that is no client assertion; nothing for an assertion."""
    if is_access_token(facts):
        return _describe_token(facts)
    typ = _BY_TYP.get(media_type(facts.header.get("typ")) or "")
    if typ is not None and facts.client is None:
        return f"this is {typ}: {_FOREIGN}"
    if facts.presented is None:
        return ""
    job, of_person = facts.presented.job, facts.presented.of_person
    if job.name == GENERIC:
        return f"this is an ID token of {_quoted(facts.claims, 'iss')}, which identifies a user" if of_person else ""
    return f"this is {job.what} ({_quoted(facts.claims, job.shown)})"


def fix(facts: Facts) -> Fix | None:
    """Return what to do with a JWT that is no assertion and no token of a platform; None for those."""
    if is_access_token(facts):
        return _SHOW
    typ = media_type(facts.header.get("typ")) or ""
    if typ == names.DPOP_TYP:
        return Fix('headers["DPoP"] = form.pop("client_assertion")', "a DPoP proof goes into its own header")
    if typ in _BY_TYP:
        return Fix(_NEW_CLIENT, "a client shows an assertion that it signs with its own key: register the key")
    return None


async def explain(facts: Facts, directory: Directory, revocations: Revocations) -> Explanation:
    """Judge an access token as the guard of its API would. The proof for a bound token is not known here."""
    await directory.refresh()
    refusal: Rejected | None = None
    try:
        await _judge(facts, directory, revocations)
    except Rejected as found:
        refusal = found
    reason = refusal.reason if refusal else None
    if reason in (Reason.SIGNATURE, Reason.KEY_ALGORITHM):  # the guard returns this reason
        reason = Reason.TOKEN_SIGNATURE
    return _explanation(facts, reason, _lines(refusal, facts), detail=refusal.detail if refusal else "")


def explain_elsewhere(facts: Facts) -> Explanation:
    """Explain an access token of a server elsewhere: only its issuer and its expiry can be judged from here."""
    expires_at = facts.claims.get("exp")
    reason = None
    if facts.claims.get("iss") != facts.issuer:
        reason = Reason.TOKEN_ISSUER
    elif isinstance(expires_at, int | float) and expires_at + LEEWAY <= facts.now:
        reason = Reason.TOKEN_EXPIRED
    lines = _lines(None, facts)
    for line in lines:
        if reason is not None and line.name == _STEP_OF[reason]:
            line.mark = FAILED
        elif line.mark == PASSED:
            line.mark = NOT_KNOWN
    return _explanation(facts, reason, lines)


def _explanation(facts: Facts, reason: Reason | None, lines: tuple[Line, ...], *, detail: str = "") -> Explanation:
    return Explanation(
        accepted=reason is None,
        code=reason.code if reason else None,
        client_id=text(facts.claims, "client_id"),
        at=facts.now,
        what=describe(facts) or None,
        lines=lines,
        fix=Fix(reason.value.fix, reason.value.sentence) if reason else _SHOW,
        detail=detail or None,
    )


async def _judge(facts: Facts, directory: Directory, revocations: Revocations) -> None:
    """Judge in the order that explains most: the issuer before the key that only the issuer publishes."""
    verified, claims = _verify(facts, directory), facts.claims
    audience = audiences(claims)
    known = [api.identifier for api in directory.apis]
    wanted = next((name for name in audience if name in known), None)
    if wanted is None:
        expected = " or ".join(known) or "a registered API"
        raise Rejected(Reason.TOKEN_AUDIENCE, expected=expected, got=" ".join(audience)[:100])
    api = directory.api(wanted)
    if api is not None and media_type(facts.header.get("typ")) == api.access_token_typ.lower() != _AT:
        # An API with another verifier: affiant's guard accepts only at+jwt.
        if active.find(facts.text, directory, issuer=facts.issuer, now=facts.now) is None:
            raise Rejected(Reason.TOKEN_EXPIRED)
        return await _check_revoked(claims, facts.now, revocations)
    try:
        access_token.verify(verified, access_token.Expected(facts.issuer, wanted, facts.now))
    except Rejected as refusal:
        if refusal.reason is not Reason.TOKEN_BINDING or not _binding(claims):
            raise
    return await _check_revoked(claims, facts.now, revocations)


def _verify(facts: Facts, directory: Directory) -> Verified:
    unverified, issuer = facts.unverified, facts.claims.get("iss")
    if unverified is None:
        raise Rejected(Reason.TOKEN_MALFORMED)
    if issuer != facts.issuer:
        raise Rejected(Reason.TOKEN_ISSUER, expected=facts.issuer, got=str(issuer)[:100])
    key = directory.published_keys().find(unverified.kid) if unverified.kid is not None else None
    if key is None:
        raise Rejected(Reason.TOKEN_KEY, got=str(unverified.kid)[:100])
    return compact.verify(unverified, key)


async def _check_revoked(claims: dict[str, Any], now: float, revocations: Revocations) -> None:
    ended = await active.find_revocations(claims, revocations)
    if ended:
        first = ended[0]
        by = f" by {first.value.partition(' ')[0]}" if first.kind == FOREIGN else ""
        raise Rejected(Reason.TOKEN_REVOKED, got=f"revoked{by} {max(0, int(now - first.at))} s ago")


def _lines(refusal: Rejected | None, facts: Facts) -> tuple[Line, ...]:
    first = _STEPS.index(_STEP_OF.get(refusal.reason, "issuer")) if refusal else len(_STEPS)
    lines = []
    for number, name in enumerate(_STEPS):
        note = _NOTES[name](facts) if name in _NOTES else ""
        if refusal is not None and number == first:
            row = refusal.reason.value
            sentence = "" if row.step else row.sentence
            line = Line(number + 1, FAILED, sentence, refusal.expected, refusal.got, "RFC 9068 4", name)
        elif number > first:
            line = Line(number + 1, NOT_REACHED, name=name)
        elif name == "binding" and _binding(facts.claims):
            line = Line(number + 1, NOT_KNOWN, _binding(facts.claims), name=name)
        else:
            line = Line(number + 1, PASSED, note, name=name)
        lines.append(line)
    return tuple(lines)


_NOTES: dict[str, Callable[[Facts], str]] = {
    "issuer": lambda facts: str(facts.claims.get("iss"))[:120],
    "key": lambda facts: str(facts.header.get("kid"))[:120],
    "type": lambda facts: str(facts.header.get("typ"))[:120],
    "API": lambda facts: " ".join(audiences(facts.claims))[:120],
    "time": lambda facts: note_time(facts.claims, facts.now),
    "claims": lambda facts: f"scope {str(facts.claims.get('scope') or '(none)')[:120]}",
    "binding": lambda _: "bound to no key",
}


def _binding(claims: dict[str, Any]) -> str:
    """Return what a token is bound to and how to present it; nothing for an unbound one."""
    cnf = claims.get("cnf")
    if not isinstance(cnf, dict) or not cnf:
        return ""
    known = {
        "jkt": "bound to a DPoP key: show it with the scheme DPoP and a proof by that key",
        "x5t#S256": "bound to a certificate: show it over mutual TLS with that certificate",
    }
    return "; ".join(known.get(name, f"bound by {name[:40]!r}, which no guard of affiant knows") for name in cnf)


def _describe_token(facts: Facts) -> str:
    claims = facts.claims
    whose = "of this server" if claims.get("iss") == facts.issuer else f"of another server, {_quoted(claims, 'iss')}"
    audience = " and ".join(ascii(name[:100])[1:-1] for name in audiences(claims)[:3]) or "no API"
    ends = note_time(claims, facts.now)
    return (
        f"this is an access token {whose}, for the client {_quoted(claims, 'client_id')} at {audience}"
        f"{f' ({ends})' if ends else ''}: show it to the API, not to /token"
    )


def _quoted(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    return ascii(value[:100]) if isinstance(value, str) else "(not named)"


_BY_TYP = {
    names.DPOP_TYP: "a DPoP proof, which goes into the header DPoP",
    names.INTROSPECTION_TYP: "an answer of /introspect",
    names.REVOCATIONS_TYP: "the list of revocations of an affiant server",
    "logout+jwt": "a logout token of OpenID Connect",
    "oauth-authz-req+jwt": "a request object (RFC 9101)",
}
