"""Fixes for refused requests: one row per reason, with a line of code and what an operator can do.

Lines of code are Python about the parts of a request: `claims`, `header`, `form`, `headers`, `key`, `secret`, `alg`,
`encode` (bytes to base64url), `signing_input`, `signature`, `token` (the finished JWT). The words of a line that always
helps are those of the reason (errors/reasons.py); only a line that depends on the request has its own.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from typing import NamedTuple

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose.claims import LEEWAY
from affiant.oauth import names
from affiant.oauth.assertion import LIFETIMES, MAX_LIFETIME
from affiant.oauth.parameters.scope import are_covered
from affiant.server.client_auth.methods import METHODS
from affiant.server.explain.facts import Facts
from affiant.server.explain.federation import mend
from affiant.server.explain.federation.jobs import NO_ID_TOKEN
from affiant.server.explain.fix import Fix, quoted
from affiant.server.registry.directory import RegisteredClient
from affiant.server.registry.key_cache import NOT_FETCHED
from affiant.server.registry.kinds import GRANT_TYPES
from affiant.storage.records import Api

_NEW_TIMES = 'claims["iat"] = int(time.time()); claims["exp"] = claims["iat"] + 60'
_NEW_JTI = 'claims["jti"] = secrets.token_urlsafe(16)  # a new one for every request'
KEPT_LIFETIME = 900  # seconds that a token must live for a client that keeps its assertion for 600 s, as MSAL does
_DROPPED = 310  # seconds before its end at which a library drops a token (MSAL: 300)
_CLOCK = "timedatectl set-ntp true"
_ENCODE = 'encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()'
_LIBRARY = "token = jwt.encode(claims, key, algorithm=alg, headers=header)"
_HALF_HOUR = 1800
_MILLISECONDS = 10**11  # the year 5138 in seconds: a larger number counts a smaller unit
_PLAIN = re.compile(r"[A-Za-z0-9._~][A-Za-z0-9._~-]{0,63}")
_EMPTY = (
    "the assertion is empty: the platform gave the job no token. A workflow of GitHub needs this permission; in others,"
    " look at the step that gets the token"
)
_DURATION = 10**8  # the year 1973 in seconds: a smaller number is no date


_TYPE = f'form["client_assertion_type"] = "{names.JWT_BEARER_ASSERTION_TYPE}"'
_ALONE = 'form.pop("client_secret", None); headers.pop("Authorization", None)'
_FORM = 'headers["Content-Type"] = "application/x-www-form-urlencoded"'
_GRANT = f'form["grant_type"] = "{names.CLIENT_CREDENTIALS}"'
_EXPLICIT_TYPE = 'header["typ"] = "client-authentication+jwt"'


class Row(NamedTuple):
    """The fixes for one reason."""

    # A line of code that always helps, or a function that makes one for this request; None from it: see the reasons.
    code: str | Callable[[Rejected, Facts], Fix | None] = lambda _, __: None
    # The options of `affiant client update` that make the server accept the request.
    options: Callable[[Rejected, Facts, RegisteredClient], str | None] | None = None
    # Why no option does; None where it depends on the request, and does not hold for this one.
    never: Callable[[Rejected, Facts], str | None] | None = None


def find(refusal: Rejected, facts: Facts) -> Fix:
    """Return the first change with which this request passes this step."""
    of_platform = mend.find(refusal, facts, facts.presented) if facts.presented is not None else None
    if of_platform is not None:
        return of_platform
    row, code = refusal.reason.value, _row(refusal).code
    if isinstance(code, str):
        return Fix(code, row.fix)
    return code(refusal, facts) or Fix(row.fix, row.sentence)


def find_setting(refusals: Sequence[Rejected], facts: Facts) -> Fix | None:
    """Return the operator's command that makes the server accept this request; a Fix without a line if none does.

    `refusals` are the reason of the request, and those that would follow. None for a reason that no setting concerns.
    """
    if not refusals or not (_row(refusals[0]).options or _row(refusals[0]).never):
        return None
    for refusal in refusals:
        never = _row(refusal).never if facts.presented is None else None
        if never is not None and (why := never(refusal, facts)):
            return Fix("", f"no setting lets this through: {why}")
    if facts.client is None:
        return None
    found = [_options(refusal, facts, facts.client) for refusal in refusals]
    if found[0] is None:
        return None
    options = " ".join(dict.fromkeys(option for option in found if option))
    rest = [refusal.reason.code for refusal, option in zip(refusals, found, strict=True) if option is None]
    why = "if the caller's code cannot be changed, the operator can let it through"
    if rest:
        why = f"if the caller's code cannot be changed, the operator can let it come further: {', '.join(rest)} stays"
    return Fix(f"affiant client update {shlex.quote(facts.client.client_id)} {options}", why)


def _row(refusal: Rejected) -> Row:
    return _ROWS.get(refusal.reason, Row())


def _options(refusal: Rejected, facts: Facts, client: RegisteredClient) -> str | None:
    options = _row(refusal).options
    return options(refusal, facts, client) if options is not None else None


def _not_fetched(refusal: Rejected, _: Facts) -> Fix | None:
    if refusal.detail != NOT_FETCHED:
        return None
    return Fix("affiant explain TRACE_ID", "nothing is fetched here: ask for the trace_id of the answer instead")


def _missing(refusal: Rejected, _: Facts) -> Fix | None:
    if refusal.expected == "assertion":
        if not refusal.detail:
            return Fix(NO_ID_TOKEN, _EMPTY)
        return Fix(_GRANT, "with this grant the JWT goes into assertion; client_assertion goes with client_credentials")
    return Fix(_GRANT, "the grant is not named") if refusal.expected == "grant_type" else None


def _half(refusal: Rejected, _: Facts) -> Fix:
    if refusal.detail.startswith("client_assertion is"):
        return Fix(NO_ID_TOKEN, _EMPTY)
    return Fix(_TYPE, Reason.HALF_ASSERTION.value.fix)


def _authorization(refusal: Rejected, _: Facts) -> Fix | None:
    if refusal.detail != "Bearer":
        return None
    line = f'headers.pop("Authorization"); form["client_assertion"] = token; {_TYPE}'
    return Fix(line, "Bearer is for an access token at an API; what proves who asks for one goes into the form")


def _grant(_: Rejected, facts: Facts) -> Fix:
    return Fix(_GRANT, f"{facts.grant[:100]!r} is no grant of this server")


def _characters(_: Rejected, facts: Facts) -> Fix:
    if facts.text != facts.text.strip():
        return Fix('form["client_assertion"] = token.strip()', "there is white space around the assertion")
    if facts.text[:1] in "\"'":
        return Fix("""form["client_assertion"] = token.strip("'\\"")""", "the assertion is in quotation marks")
    if facts.text.lower().startswith("bearer "):
        return Fix('form["client_assertion"] = token.split()[-1]', "Bearer belongs in a header, before an access token")
    return Fix(_ENCODE, "it is base64, with + / or =; a JWT needs base64url without padding")


def _parts(refusal: Rejected, facts: Facts) -> Fix:
    if refusal.detail.endswith("in place of a token"):
        return Fix(NO_ID_TOKEN, _EMPTY)
    number = facts.text.count(".") + 1
    return Fix(_LIBRARY, f"{number} part{'s' if number > 1 else ''} cannot be a signed JWT: header.payload.signature")


def _issuer_and_subject(_: Rejected, facts: Facts) -> Fix | None:
    client_id = facts.client.client_id if facts.client else next(iter(facts.near or facts.names), None)
    if client_id is None:
        return None
    return Fix(f'claims["iss"] = claims["sub"] = {quoted(client_id)}', "iss and sub are both the client_id")


def _unknown(_: Rejected, facts: Facts) -> Fix | None:
    if facts.near:
        line = f'claims["iss"] = claims["sub"] = form["client_id"] = {quoted(facts.near[0])}'
        return Fix(line, f"no client has this name; {facts.near[0]} is registered")
    name = next(filter(_PLAIN.fullmatch, facts.names), "NAME")  # Attack: an operator types the line into a shell
    return Fix(f"affiant client new {name} --public-key PUBLIC_KEY_FILE", "no client has this name")


def _enable(_: Rejected, facts: Facts) -> Fix | None:
    if facts.client is None:
        return None
    return Fix(f"affiant client enable {shlex.quote(facts.client.client_id)}", "it was disabled")


def _method(_: Rejected, facts: Facts) -> Fix | None:
    if facts.client is None:
        return None
    name = facts.client.record.token_endpoint_auth_method
    (code,) = (method.code for method in METHODS if name in method.places)
    drop = 'form.pop("client_assertion", None); form.pop("client_assertion_type", None)'
    return Fix(f"{drop}; {code(name, facts.client.client_id)}", f"the client is registered for {name}")


def _algorithm(refusal: Rejected, _: Facts) -> Fix:
    alg = refusal.expected.split(" or ")[0]
    return Fix(f'alg = header["alg"] = {quoted(alg)}', f"the registered key is for {refusal.expected}")


def _key(refusal: Rejected, facts: Facts) -> Fix | None:
    if facts.hint is not None:
        return Fix(facts.hint.line, facts.hint.what)
    if facts.client is None or facts.client.record.jwks_uri is not None:  # it publishes its keys at a jwks_uri
        return None
    alg = facts.unverified.alg if facts.unverified else refusal.got if refusal.reason is Reason.KEY_NONE else ""
    fitting = sorted({alg for key in facts.client.keys.usable(facts.now) for alg in key.algorithms})
    if fitting and alg and alg not in fitting:
        return Fix(f'alg = header["alg"] = {quoted(fitting[0])}', f"the registered keys are for {', '.join(fitting)}")
    if facts.client.record.token_endpoint_auth_method == names.CLIENT_SECRET_JWT:
        return Fix("secret = credentials['client_secret']", "the MAC is by another secret than the registered one")
    known = ", ".join(key.kid for key in facts.client.keys.usable(facts.now))
    line = f"affiant client update {shlex.quote(facts.client.client_id)} --public-key PUBLIC_KEY_FILE"
    why = f"no registered key ({known}) made this signature, by any known mistake: register the one that did"
    return Fix(line, why)


def _jku(refusal: Rejected, _: Facts) -> Fix:
    return Fix('header.pop("jku", None)', f"jku may only be the registered jwks_uri, {refusal.expected}")


def _audience(refusal: Rejected, facts: Facts) -> Fix:
    got = f"; the assertion has {refusal.got}" if refusal.got else ""
    return Fix(f'claims["aud"] = {quoted(facts.issuer)}', f"the audience is the issuer, exactly{got}")


def _times(refusal: Rejected, facts: Facts) -> Fix:
    numbers = {n: v for n, v in facts.claims.items() if n in ("exp", "iat", "nbf") and isinstance(v, int | float)}
    if any(value > _MILLISECONDS for value in numbers.values()):
        return Fix(f'{_NEW_TIMES}; claims.pop("nbf", None)', "these are milliseconds; a JWT counts in seconds")
    if 0 <= numbers.get("exp", -1) < _DURATION:
        return Fix(_NEW_TIMES, "exp is a date, not a lifetime")
    offset = _offset(facts, numbers)
    if offset is not None and abs(offset - round(offset / _HALF_HOUR) * _HALF_HOUR) <= LEEWAY and abs(offset) > LEEWAY:
        hours = round(offset / _HALF_HOUR) / 2
        why = f"the times are {abs(hours):g} h {'ahead' if hours > 0 else 'behind'}: local time was taken for UTC"
        return Fix(f'{_NEW_TIMES}; claims.pop("nbf", None)', why)
    if refusal.reason is Reason.NOT_YET and (offset is None or abs(offset) <= LEEWAY):
        return Fix('claims.pop("nbf", None)', "nbf is later than iat, and not needed here")
    if refusal.reason is Reason.LIFETIME:
        longest = LIFETIMES[facts.client.record.lifetime_policy] if facts.client else MAX_LIFETIME
        return Fix(_NEW_TIMES, f"it would live longer than {longest} s")
    lives_long = numbers.get("exp", 0) - numbers.get("iat", 0) > MAX_LIFETIME
    if refusal.reason in (Reason.IAT_OLD, Reason.EXPIRED) and (facts.claimed or offset is None or lives_long):
        return Fix(f"{_NEW_TIMES}; {_NEW_JTI.partition('  #')[0]}", "each request needs a new assertion")
    side = "ahead" if offset is not None and offset > 0 else "behind"
    return Fix(_CLOCK, f"the clock that made it is {abs(int(offset or 0))} s {side}")


def _offset(facts: Facts, numbers: dict[str, float]) -> float | None:
    """Return how many seconds the sender's clock seems ahead of ours, by the time of its assertion."""
    made = numbers.get("iat", numbers.get("nbf"))
    return None if made is None else made - facts.now


def _replayed(_: Rejected, facts: Facts) -> Fix:
    # A line of code helps code that makes the jti itself; a library that caches its assertion needs longer tokens.
    if facts.earlier is not None and facts.earlier.get("outcome") == "refused":
        why = (
            f"{_earlier(facts)}, which was refused for {facts.earlier.get('reason')}: a refused request uses up its jti"
        )
        return Fix(_NEW_JTI, why)
    if not facts.kept:
        return Fix(_NEW_JTI, f"{_earlier(facts)}; each request needs a new one")
    if facts.client is None or not _outlasts(facts, facts.client):
        return Fix(_NEW_JTI, f"{_earlier(facts)}; a retry and a second scope always need a new one")
    why = "the client library keeps its assertion (MSAL does, for 540 s) longer than its token"
    return Fix(
        _lengthen(facts, facts.client), f"{_earlier(facts)}: {why}; tokens that live {KEPT_LIFETIME} s outlast it"
    )


def _lengthen(facts: Facts, client: RegisteredClient) -> str:
    """Return the command for longer tokens. The smallest lifetime counts, so an API may be the one to change."""
    for api in _apis(facts, client):
        if api.access_token_lifetime and api.access_token_lifetime < KEPT_LIFETIME:
            return f"affiant api update {shlex.quote(api.name)} --access-token-lifetime {KEPT_LIFETIME}"
    return f"affiant client update {shlex.quote(client.client_id)} --access-token-lifetime {KEPT_LIFETIME}"


def _outlasts(facts: Facts, client: RegisteredClient) -> bool:
    """Whether longer tokens help: the client sent the assertion again because its token was about to expire."""
    if facts.earlier is None or facts.earlier.get("outcome") != "issued":
        return False
    limits = (api.access_token_lifetime for api in _apis(facts, client))
    lifetime = min([facts.token_lifetime, *filter(None, limits)])
    seconds = facts.now - float(facts.earlier["at"])
    return lifetime < KEPT_LIFETIME and seconds >= lifetime - _DROPPED


def _apis(facts: Facts, client: RegisteredClient) -> list[Api]:
    asked = facts.resources or client.record.resources
    return [api for api in facts.apis if (api.identifier in asked if asked else api.is_default)]


def _earlier(facts: Facts) -> str:
    used = "this very assertion was used" if facts.kept else "this jti was used"
    if facts.earlier is None:
        return f"{used} before"
    seconds = max(0, int(facts.now - float(facts.earlier["at"])))
    return f"{used} {seconds} s before, by the request {facts.earlier.get('trace_id')}"


def _scope(refusal: Rejected, facts: Facts) -> Fix:
    allowed = refusal.expected.split(" ") if refusal.expected not in ("", "no scope") else []
    if not allowed and facts.client is not None and facts.client.record.scope:
        return _no_common_scope(facts, facts.client)
    asked = facts.scope.replace(",", " ").split()
    kept = [name for name in asked if name in allowed] or allowed
    line = f'form["scope"] = {quoted(" ".join(kept))}' if kept else 'form.pop("scope", None)'
    return Fix(line, f"the client may have: {refusal.expected or 'nothing'}")


def _no_common_scope(facts: Facts, client: RegisteredClient) -> Fix:
    # The registration is wrong, often by one character, not the request.
    name = shlex.quote(client.client_id)
    offers = "; ".join(f"{api.identifier} has {' '.join(api.scopes) or 'none'}" for api in _apis(facts, client))
    return Fix(
        f"Ask the operator for  affiant client update {name} --scope SCOPE,  with a scope that the API has.",
        f"the client is registered for {' '.join(client.record.scope)}; {offers or 'it may ask for no API'}",
    )


def _scope_spelling(_: Rejected, facts: Facts) -> Fix:
    names_ = facts.scope.replace(",", " ").split()
    return Fix(f'form["scope"] = {quoted(" ".join(names_))}', "names have one space between them")


def _resource(refusal: Rejected, facts: Facts) -> Fix:
    first = refusal.expected.split(" or ")[0]
    sent = facts.form.all("resource") if facts.form else ()
    name = "audience" if facts.form and facts.form.all("audience") and not sent else "resource"
    line = f'form["{name}"] = {quoted(first)}' if first else f'form.pop("{name}", None)'
    return Fix(line, f"the client may ask for: {refusal.expected or 'no API'}")


def _policy_options(refusal: Rejected, facts: Facts, _: RegisteredClient) -> str | None:
    rule = _POLICIES[refusal.reason]
    return f"--{rule} {facts.policies[rule]}" if rule in facts.policies else None


def _method_options(refusal: Rejected, _: Facts, client: RegisteredClient) -> str | None:
    # Only between the two ways to send a secret: no suggested command may weaken a client that has a key.
    by_secret = (names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST)
    sent = refusal.got.partition(" ")[0]
    is_between = client.record.token_endpoint_auth_method in by_secret and sent in by_secret
    return f"--auth {sent}" if is_between else None


def _scope_options(_: Rejected, facts: Facts, client: RegisteredClient) -> str | None:
    asked = facts.scope.replace(",", " ").split()
    offered = {name for api in facts.apis for name in api.scopes}
    if not asked or not are_covered(asked, offered):
        return None
    return _repeated("scope", [*client.record.scope, *asked])


def _resource_options(_: Rejected, facts: Facts, client: RegisteredClient) -> str | None:
    known = {api.identifier: api.is_default for api in facts.apis}
    if not facts.resources or not set(facts.resources) <= known.keys():
        return None
    before = client.record.resources or tuple(name for name, is_default in known.items() if is_default)
    return _repeated("resource", [*before, *facts.resources])


def _grant_options(_: Rejected, facts: Facts, client: RegisteredClient) -> str | None:
    return _repeated("grant", [*client.record.grant_types, facts.grant]) if facts.grant in GRANT_TYPES else None


def _delegates(refusal: Rejected, facts: Facts) -> Fix | None:
    if facts.client is None:
        return None
    allowed = _repeated("delegates-to", [*refusal.detail.split(), facts.client.client_id])
    line = f"affiant client update {shlex.quote(refusal.got)} {allowed}"
    return Fix(line, f"{refusal.got} decides which clients may act for it, and this replaces its list")


def _introspect_options(refusal: Rejected, _: Facts, client: RegisteredClient) -> str | None:
    api = refusal.got.partition(" ")[0]
    return _repeated("introspect", [*client.record.introspects, api]) if api else None


def _certificate_options(_: Rejected, __: Facts, client: RegisteredClient) -> str | None:
    # Not if the client authenticates by its certificate, or its profile binds tokens.
    is_chosen = client.record.tls_client_certificate_bound_access_tokens and not client.demands.binds
    return "--certificate-bound optional" if is_chosen else None


def _repeated(option: str, values: Sequence[str]) -> str:
    return " ".join(f"--{option} {shlex.quote(value)}" for value in dict.fromkeys(values))


def _by_policy(why: str) -> Callable[[Rejected, Facts], str | None]:
    """Return `why` as the reason, if the policies were tried and none accepts the assertion."""

    def never(refusal: Rejected, facts: Facts) -> str | None:
        return why if facts.judged_to > 0 and _POLICIES[refusal.reason] not in facts.policies else None

    return never


def _always(why: str) -> Callable[[Rejected, Facts], str | None]:
    return lambda _, __: why


_POLICIES = {
    Reason.ISS_SUB: "subject",
    Reason.TYP_EXPLICIT: "typ",
    Reason.AUDIENCE: "audience",
    Reason.LIFETIME: "lifetime",
    Reason.IAT_OLD: "lifetime",
    Reason.JTI: "jti",
}
_ROWS = {
    Reason.METHOD: Row('method = "POST"; form |= query; query.clear()'),
    Reason.CONTENT_TYPE: Row(
        _FORM, never=_always("the endpoint takes forms only, as every OAuth server must (RFC 6749 section 3.2)")
    ),
    Reason.NO_BODY: Row(
        f'{_FORM}; form |= {{"grant_type": "{names.CLIENT_CREDENTIALS}", "client_assertion": token}}; {_TYPE}'
    ),
    Reason.IN_QUERY: Row("form |= query; query.clear()"),
    Reason.MISSING_PARAMETER: Row(_missing),
    Reason.JWKS_UNAVAILABLE: Row(_not_fetched),
    Reason.GRANT_UNSUPPORTED: Row(_grant),
    Reason.HALF_ASSERTION: Row(_half),
    Reason.ASSERTION_TYPE: Row(_TYPE),
    Reason.ASSERTION_AND_OTHER: Row(_ALONE),
    Reason.MULTIPLE_METHODS: Row('headers.pop("Authorization", None)'),
    Reason.MISPLACED_ASSERTION: Row(
        f'form["client_assertion"] = form.pop("assertion"); {_TYPE}; {_ALONE}; claims["sub"] = claims["iss"]'
    ),
    Reason.BASIC_MALFORMED: Row(_authorization),
    Reason.NO_CREDENTIALS: Row(f'form["client_assertion"] = token; {_TYPE}'),
    Reason.JWT_CHARACTERS: Row(_characters),
    Reason.JWT_PARTS: Row(_parts),
    Reason.JWT_ENCRYPTED: Row(_LIBRARY),
    Reason.JWT_BASE64URL: Row(_ENCODE),
    Reason.JWT_JSON: Row(_LIBRARY),
    Reason.JWT_CRIT: Row('header.pop("crit", None); header.pop("b64", None)'),
    Reason.JWT_ALG: Row(_LIBRARY),
    Reason.JWT_KID: Row('header.pop("kid", None)'),
    Reason.JWT_TYP: Row(_EXPLICIT_TYPE),
    Reason.TYP_EXPLICIT: Row(_EXPLICIT_TYPE, _policy_options),
    Reason.ISS_SUB: Row(_issuer_and_subject, _policy_options),
    Reason.TRUST_UNKNOWN: Row(_issuer_and_subject),
    Reason.CLIENT_ID: Row('form["client_id"] = claims["iss"]'),
    Reason.CLIENT_UNKNOWN: Row(_unknown),
    Reason.CLIENT_DISABLED: Row(_enable),
    Reason.CLIENT_METHOD: Row(_method, _method_options),
    Reason.KEY_ALGORITHM: Row(_algorithm),
    Reason.KEY_UNKNOWN: Row(_key),
    Reason.KEY_NONE: Row(_key),
    Reason.SIGNATURE: Row(_key),
    Reason.JKU: Row(_jku),
    Reason.AUDIENCE: Row(
        _audience, _policy_options, _by_policy("by every policy aud is the issuer, or its token endpoint, alone")
    ),
    Reason.EXP_MISSING: Row(_NEW_TIMES, never=_always("exp is required, as a number of seconds (RFC 7519 section 2)")),
    Reason.TIME_CLAIM: Row(
        f'{_NEW_TIMES}; claims.pop("nbf", None)', never=_always("times are numbers of seconds (RFC 7519 section 2)")
    ),
    Reason.EXPIRED: Row(_times),
    Reason.LIFETIME: Row(
        _times, _policy_options, _by_policy(f"no assertion may live longer than {LIFETIMES['legacy']} s")
    ),
    Reason.NOT_YET: Row(_times),
    Reason.IAT_FUTURE: Row(_times),
    Reason.IAT_OLD: Row(_times, _policy_options, _by_policy(f"no assertion may be older than {LIFETIMES['legacy']} s")),
    Reason.JTI: Row(_NEW_JTI, _policy_options),
    Reason.REPLAYED: Row(_replayed),
    Reason.EXCHANGE_TYPE: Row(
        f'form["subject_token_type"] = "{names.ACCESS_TOKEN_TOKEN_TYPE}"; form.pop("requested_token_type", None)'
    ),
    Reason.EXCHANGE_ACTOR: Row('form.pop("actor_token", None); form.pop("actor_token_type", None)'),
    Reason.EXCHANGE_AUDIENCE: Row(options=_introspect_options),
    Reason.EXCHANGE_NOT_DELEGABLE: Row(_delegates),
    Reason.DPOP_MISSING: Row(options=lambda _, __, client: None if client.demands.binds else "--dpop optional"),
    Reason.CERTIFICATE_MISSING: Row(options=_certificate_options),
    Reason.LIMIT_BUDGET: Row(options=lambda _, __, ___: "--budget observe"),
    Reason.GRANT_NOT_ALLOWED: Row(options=_grant_options),
    Reason.SCOPE_MALFORMED: Row(_scope_spelling),
    Reason.SCOPE_NOT_ALLOWED: Row(_scope, _scope_options),
    Reason.RESOURCE_MALFORMED: Row(_resource),
    Reason.RESOURCE_NOT_ALLOWED: Row(_resource, _resource_options),
    Reason.RESOURCE_MISSING: Row(_resource),
    Reason.RESOURCE_CONFLICT: Row('form.pop("audience", None)'),
}
