"""Fixes for refused tokens of platforms: one function per reason. The first line printed is what mends it."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose.algorithms import ASYMMETRIC
from affiant.oauth import names
from affiant.oauth.federation.trusted_token import IF_PRESENT, MAX_LIFETIME, REUSED
from affiant.server.explain.facts import Facts
from affiant.server.explain.federation import unmet
from affiant.server.explain.federation.jobs import Job
from affiant.server.explain.federation.presented import Presented
from affiant.server.explain.fix import Fix, command, quoted
from affiant.server.registry.federation import claims as kept_claims
from affiant.system.text import printable

_DAY = 86_400
_CLOCK = "timedatectl set-ntp true"
_KEEP = "Keep the access token until it expires, and exchange the job's token once."
TOKEN_FILE = "TOKEN_FILE"  # noqa: S105 - in a line, the file that `affiant trust test` was given


def find(refusal: Rejected, facts: Facts, presented: Presented) -> Fix | None:
    """Return the change with which the token passes this step; None if the reason has no fix of its own here."""
    found = _ROWS.get(refusal.reason)
    return found(refusal, facts, presented) if found is not None else None


def add(presented: Presented) -> str:
    """Return the command that makes a trust and a rule of this token."""
    if presented.trace_id is not None:
        return command("trust", "add", from_refused=[presented.trace_id])
    return f"affiant trust add {presented.job.name} --from-token {TOKEN_FILE}"


def _unknown(refusal: Rejected, facts: Facts, presented: Presented) -> Fix:
    issuer = printable(presented.issuer, 200)
    if presented.of_person:
        source = presented.job.source or "PLATFORM"
        why = "it is a token of a person who signed in; a trust takes those of workloads"
        return Fix(f"affiant token --from {source} --issuer {shlex.quote(facts.issuer)}", why)
    if refusal.detail:  # the trust that the operator named has another issuer
        return Fix(add(presented), f"the issuer of the token is {issuer}, and that of the trust {refusal.expected}")
    for trust in presented.trusts:
        if how := _near(trust.record.issuer, presented.issuer):
            why = f"the trust {trust.name} is for {trust.record.issuer}, and the token is of {issuer}: {how}"
            return Fix(add(presented), why)
    return Fix(add(presented), f"no trust is for {issuer}, the issuer of {presented.job.what}")


def _near(known: str, issuer: str) -> str:
    """Return the difference of two issuers that are easily confused; empty for others."""
    if known.rstrip("/") == issuer.rstrip("/"):
        return "only the slash at the end differs"
    if known.casefold() == issuer.casefold():
        return "upper and lower case differ"
    tenants = [part for part in known.split("/") if part.count("-") == 4 and part in issuer.split("/")]  # noqa: PLR2004
    if tenants:
        return "it is another version of the same tenant (v1 or v2), which has an issuer of its own"
    if issuer.startswith(f"{known.rstrip('/')}/"):
        return "an enterprise or a team has its own issuer below the general one"
    return ""


def _names(_: Rejected, facts: Facts, presented: Presented) -> Fix | None:
    if presented.job.name != "kubernetes":
        return None
    why = "it is the legacy token of a Secret, without audience and end; mount a projected one in its place"
    return Fix(_asked(presented, facts), why)


def _disabled(_: Rejected, __: Facts, presented: Presented) -> Fix | None:
    if presented.trust is None:
        return None
    return Fix(command("trust", "enable", presented.trust.name), f"the trust {presented.trust.name} was disabled")


def _keys(refusal: Rejected, _: Facts, presented: Presented) -> Fix | None:
    trust = presented.trust
    if trust is None:
        return None
    upload = _upload(presented, trust.name)
    known = refusal.detail or f"trust {trust.name}"
    if trust.record.jwks is None:
        return Fix(upload, f"{known}: upload the keys, if this server cannot reach the issuer")
    which = f"the token has {refusal.got}" if refusal.got else "none of its keys made the signature"
    return Fix(upload, f"{known}, and {which}: upload the keys of today")


def _upload(presented: Presented, name: str) -> str:
    upload = command("trust", "update", name, jwks=["jwks.json"])
    return (
        f"kubectl get --raw /openid/v1/jwks > jwks.json && {upload}" if presented.job.name == "kubernetes" else upload
    )


def _key_unknown(refusal: Rejected, facts: Facts, presented: Presented) -> Fix | None:
    if presented.trust is not None and presented.trust.record.jwks is None:
        issuer = presented.trust.record.issuer
        why = f"{issuer} publishes no key that fits {refusal.got or 'the token'}: it may be of another cluster, or old"
        return Fix(_again(presented, facts), why)
    return _keys(refusal, facts, presented)


def _algorithm(refusal: Rejected, __: Facts, presented: Presented) -> Fix | None:
    trust = presented.trust
    if trust is None or refusal.got not in ASYMMETRIC:
        return None
    line = command("trust", "update", trust.name, alg=[*trust.record.algorithms, refusal.got])
    return Fix(line, f"the token is signed with {refusal.got}, and the trust takes {refusal.expected}")


def _audience(refusal: Rejected, facts: Facts, presented: Presented) -> Fix | None:
    trust, came = presented.trust, presented.claims.get("aud")
    if trust is None:
        return None
    wanted, values = trust.token_rules.audiences, came if isinstance(came, list) else [came]
    if len(values) > 1 and any(value in wanted for value in values):
        if presented.job.audience:
            why = f"aud is {refusal.got}, and with several each recipient could use the token here: ask for one"
            return Fix(_asked(presented, facts), why)
        line = command("trust", "update", trust.name, several_audiences=["true"])
        return Fix(line, f"aud is {refusal.got}, and the trust takes one alone")
    own = facts.issuer in values or f"{facts.issuer}/token" in values
    if came is not None and (own or not presented.job.audience) and len(values) == 1:
        line = command("trust", "update", trust.name, audience=[str(values[0])])
        return Fix(line, f"the platform writes aud {values[0]}, and the trust wants {refusal.expected}")
    if not presented.job.audience:
        return None
    return Fix(_asked(presented, facts), f"aud is {refusal.got or 'absent'}, and the trust wants {refusal.expected}")


def _asked(presented: Presented, facts: Facts) -> str:
    """Return the line with which the job asks for a token for this server."""
    audiences = presented.trust.token_rules.audiences if presented.trust is not None else (facts.issuer,)
    return presented.job.ask(facts.issuer if facts.issuer in audiences else audiences[0])


def _lifetime(refusal: Rejected, facts: Facts, presented: Presented) -> Fix | None:
    trust, seconds = presented.trust, refusal.got.partition(" ")[0]
    if trust is None or not seconds.isdecimal():
        return None
    if int(seconds) > MAX_LIFETIME:
        why = f"it lives for {int(seconds) // _DAY} days: not even a day is allowed"
        return Fix(_asked(presented, facts) or "Ask the platform for a token with a shorter life.", why)
    line = command("trust", "update", trust.name, max_lifetime=[seconds])
    return Fix(line, f"it lives for {seconds} s, and the trust allows {trust.record.max_lifetime}")


def _again(presented: Presented, facts: Facts) -> str:
    job: Job = presented.job
    if job.source:
        return f"affiant token --from {job.source} --issuer {shlex.quote(facts.issuer)}"
    return "Take a new token of the platform for each exchange."


def _expired(_: Rejected, facts: Facts, presented: Presented) -> Fix:
    if presented.job.has_one:
        return Fix(_KEEP, "the job's token has expired, and the job gets no other: exchange it at the start")
    return Fix(_again(presented, facts), "the token has expired: ask for one right before it is used")


def _early(refusal: Rejected, _: Facts, presented: Presented) -> Fix:
    late = f", {refusal.got}" if refusal.got else ""
    return Fix(_CLOCK, f"{presented.issuer} made it in the future{late}: the clock of this server is behind")


def _jti(_: Rejected, __: Facts, presented: Presented) -> Fix | None:
    if presented.trust is None:
        return None
    line = command("trust", "update", presented.trust.name, replay=[IF_PRESENT])
    return Fix(line, "the platform writes no jti, by which the trust would take each token once")


def _refuses(refusal: Rejected, _: Facts, presented: Presented) -> Fix:
    claim = kept_claims.plain(refusal.got.partition(" ")[0])
    if claim.endswith("ssh-rerun"):
        return Fix(unmet.WITHOUT_SSH, f"{refusal.got}: a person can be inside such a job")
    if presented.job.name == "github" and claim == "event_name":
        return Fix(unmet.push(presented), f"{refusal.got}: outsiders can cause such a run")
    return Fix("Run the job another way.", f"the trust refuses {refusal.got}: outsiders can get such a token")


def _no_rule(_: Rejected, facts: Facts, presented: Presented) -> Fix | None:
    if presented.of_person:
        line = f"affiant token --from {presented.job.source or 'PLATFORM'} --issuer {shlex.quote(facts.issuer)}"
        return Fix(line, "it is a token of a person who signed in; the rules are for workloads")
    sent = facts.form.get("client_id") if facts.form else None
    found = unmet.mend(presented, sent, add(presented))
    if found is None and presented.trust is not None and not presented.trust.rules:
        return Fix(add(presented), f"the trust {presented.trust.name} has no rule")
    return found


def _ambiguous(refusal: Rejected, _: Facts, presented: Presented) -> Fix | None:
    met = [one for one in presented.rules if not one.unmet and one.enabled]
    if len(met) < 2:  # noqa: PLR2004
        name = refusal.got.rpartition(" and ")[2].rpartition("/")[2]
        kind = "rule" if "/" in refusal.got else "trust"
        return Fix(command(kind, "disable", name), f"two fit: {refusal.got}") if name else None
    clients = list(dict.fromkeys(one.client_id for one in met))
    if len(clients) == len(met):
        why = f"the rules for {' and '.join(clients)} fit: choose the client"
        return Fix(f'form["client_id"] = {quoted(clients[0])}', why)
    return Fix(command("rule", "disable", met[-1].rule), f"the rules {' and '.join(one.rule for one in met)} fit")


def _copies(refusal: Rejected, _: Facts, presented: Presented) -> Fix:
    name = refusal.detail.rpartition("/")[2] or (presented.chosen.name if presented.chosen else "NAME")
    return Fix(command("rule", "update", name, copy_claim=["sub"]), "the copied claims are too long")


def _replayed(_: Rejected, facts: Facts, presented: Presented) -> Fix:
    if presented.job.has_one:
        return Fix(_KEEP, "the job's token was used before, and the job gets no other")
    if presented.job.name in ("kubernetes", "spiffe") and presented.trust is not None:
        line = command("trust", "update", presented.trust.name, replay=[REUSED])
        return Fix(line, "the platform hands out the same token until it expires, and the trust takes each once")
    return Fix(_again(presented, facts), "this token was used before: each exchange needs another")


def _client_unknown(_: Rejected, __: Facts, presented: Presented) -> Fix | None:
    found = presented.chosen
    if found is None:
        return None
    line = command("client", "new", found.client_id, auth=[names.FEDERATED_JWT])
    return Fix(line, f"the rule {found.path} names the client {found.client_id}, which does not exist")


def _nothing_left(refusal: Rejected, facts: Facts, presented: Presented) -> Fix | None:
    rule, client = presented.chosen, facts.client
    if "time" in refusal.expected:
        return _expired(refusal, facts, presented)
    if rule is None or client is None:
        return None
    offered = {name for api in facts.apis for name in api.scopes}
    scope = [name for name in client.record.scope if name in offered]
    line = command("rule", "update", rule.name, scope=scope)
    return Fix(line, f"the rule allows {' '.join(rule.scope)}, and the client has {' '.join(client.record.scope)}")


def _subject(_: Rejected, facts: Facts, presented: Presented) -> Fix | None:
    fixes = (find(refusal, facts, presented) for refusal in presented.refusals)
    return next((fix for fix in fixes if fix is not None), None)


def _misplaced(_: Rejected, __: Facts, ___: Presented) -> Fix:
    return Fix(f'form["grant_type"] = {quoted(names.JWT_BEARER)}', "a token in assertion is the grant itself")


def _feed(_: Rejected, __: Facts, presented: Presented) -> Fix | None:
    trust = presented.trust
    if trust is None:
        return None
    why = f"{trust.record.issuer} cannot be asked for its revocations from here: allow its address, or give its --ca"
    return Fix(command("trust", "show", trust.name), why)


def _revoked(_: Rejected, facts: Facts, presented: Presented) -> Fix:
    return Fix(_again(presented, facts), "the server that issued this token has revoked it")


_ROWS: dict[Reason, Callable[[Rejected, Facts, Presented], Fix | None]] = {
    Reason.MISPLACED_ASSERTION: _misplaced,
    Reason.ISS_SUB: _names,
    Reason.TRUST_UNKNOWN: _unknown,
    Reason.CLIENT_UNKNOWN: _client_unknown,
    Reason.TRUST_DISABLED: _disabled,
    Reason.KEY_ALGORITHM: _algorithm,
    Reason.TRUST_KEYS: _keys,
    Reason.TRUST_KEY_UNKNOWN: _key_unknown,
    Reason.SIGNATURE: _keys,
    Reason.TRUST_AUDIENCE: _audience,
    Reason.EXPIRED: _expired,
    Reason.TRUST_LIFETIME: _lifetime,
    Reason.NOT_YET: _early,
    Reason.IAT_FUTURE: _early,
    Reason.BEFORE_RESTORE: _expired,
    Reason.JTI: _jti,
    Reason.TRUST_FEED: _feed,
    Reason.TRUST_REVOKED: _revoked,
    Reason.TRUST_REFUSES: _refuses,
    Reason.RULE_NONE: _no_rule,
    Reason.TRUST_AMBIGUOUS: _ambiguous,
    Reason.RULE_COPIES: _copies,
    Reason.REPLAYED: _replayed,
    Reason.NOTHING_LEFT: _nothing_left,
    Reason.EXCHANGE_SUBJECT: _subject,
    Reason.EXCHANGE_REPLAYED: _replayed,
}
