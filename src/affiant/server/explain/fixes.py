"""What to change, as a line of code or a command: the first that would let this request through.

Lines of code are Python about the parts of a request: `claims`, `header`, `form`, `headers`, `key`, `secret`, `alg`,
`encode` (bytes to base64url), `signing_input`, `signature`, `token` (the finished JWT).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote_plus

from affiant.errors import Rejected
from affiant.jose.claims import LEEWAY
from affiant.oauth import names
from affiant.oauth.assertion import LIFETIMES, MAX_LIFETIME
from affiant.reasons import Reason
from affiant.server.explain.facts import Facts
from affiant.server.registry.directory import RegisteredClient
from affiant.server.registry.remote_keys import NOT_FETCHED
from affiant.storage.records import Api

_NEW_TIMES = 'claims["iat"] = int(time.time()); claims["exp"] = claims["iat"] + 60'
_NEW_JTI = 'claims["jti"] = secrets.token_urlsafe(16)  # a new one for every request'
KEPT_LIFETIME = 900  # seconds that a token must live for a client that keeps its assertion for 600 s, as MSAL does
_DROPPED = 310  # seconds before its end at which a library drops a token (MSAL: 300)
_CLOCK = "timedatectl set-ntp true"
_ENCODE = 'encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()'
_LIBRARY = "token = jwt.encode(claims, key, algorithm=alg, headers=header)"
_HALF_HOUR = 1800
_MILLISECONDS = 10**11  # seconds until the year 5138: what is more is counted in something smaller
_PLAIN = re.compile(r"[A-Za-z0-9._~][A-Za-z0-9._~-]{0,63}")
_DURATION = 10**8  # seconds until 1973: what is less is no date


@dataclass(frozen=True, slots=True)
class Fix:
    """A line to type, and why it helps."""

    line: str
    why: str

    @property
    def is_command(self) -> bool:
        """Whether it is typed into a shell."""
        return self.line.startswith(("affiant ", "timedatectl "))


def find(refusal: Rejected, facts: Facts) -> Fix:
    """The fix for this refusal, as particular as what is known allows."""
    made = _FIXES.get(refusal.reason)
    found = made(refusal, facts) if made is not None else None
    return found or Fix(refusal.reason.value.fix, refusal.reason.value.sentence)


def _say(line: str, why: str) -> Callable[[Rejected, Facts], Fix]:
    return lambda _, __: Fix(line, why)


def _not_fetched(refusal: Rejected, _: Facts) -> Fix | None:
    if refusal.detail != NOT_FETCHED:
        return None
    return Fix("affiant explain TRACE_ID", "nothing is fetched here: ask for the trace_id of the answer instead")


def _missing(refusal: Rejected, _: Facts) -> Fix | None:
    if refusal.expected == "assertion":
        why = "with this grant the JWT goes into assertion; in client_assertion it goes with client_credentials"
        return Fix(f'form["grant_type"] = "{names.CLIENT_CREDENTIALS}"', why)
    if refusal.expected != "grant_type":
        return None
    return Fix(f'form["grant_type"] = "{names.CLIENT_CREDENTIALS}"', "the grant is not named")


def _grant(_: Rejected, facts: Facts) -> Fix:
    sent = facts.form.get("grant_type") if facts.form else None
    why = f"{(sent or '')[:100]!r} is no grant of this server"
    return Fix(f'form["grant_type"] = "{names.CLIENT_CREDENTIALS}"', why)


def _characters(_: Rejected, facts: Facts) -> Fix:
    if facts.text != facts.text.strip():
        return Fix('form["client_assertion"] = token.strip()', "there is white space around the assertion")
    if facts.text[:1] in "\"'":
        return Fix("""form["client_assertion"] = token.strip("'\\"")""", "the assertion is in quotation marks")
    if facts.text.lower().startswith("bearer "):
        return Fix('form["client_assertion"] = token.split()[-1]', "Bearer belongs in a header, before an access token")
    return Fix(_ENCODE, "it is base64, with + / or =; a JWT needs base64url without padding")


def _parts(_: Rejected, facts: Facts) -> Fix:
    number = facts.text.count(".") + 1
    return Fix(_LIBRARY, f"{number} part{'s' if number > 1 else ''} cannot be a signed JWT: header.payload.signature")


def _names(_: Rejected, facts: Facts) -> Fix | None:
    client_id = facts.client.client_id if facts.client else next(iter(facts.near or facts.names), None)
    if client_id is None:
        return None
    return Fix(f'claims["iss"] = claims["sub"] = {_quoted(client_id)}', "iss and sub are both the client_id")


def _unknown(_: Rejected, facts: Facts) -> Fix | None:
    if facts.near:
        line = f'claims["iss"] = claims["sub"] = form["client_id"] = {_quoted(facts.near[0])}'
        return Fix(line, f"no client has this name; {facts.near[0]} is registered")
    name = next(filter(_PLAIN.fullmatch, facts.names), "NAME")  # what a stranger chose is typed into no shell
    return Fix(f"affiant client new {name} --public-key PUBLIC_KEY_FILE", "no client has this name")


def _enable(_: Rejected, facts: Facts) -> Fix | None:
    if facts.client is None:
        return None
    return Fix(f"affiant client enable {shlex.quote(facts.client.client_id)}", "it was disabled")


def _method(_: Rejected, facts: Facts) -> Fix | None:
    if facts.client is None:
        return None
    method = facts.client.record.token_endpoint_auth_method
    why = f"the client is registered for {method}"
    if method in (names.PRIVATE_KEY_JWT, names.CLIENT_SECRET_JWT):
        line = f'form |= {{"client_assertion": token, "client_assertion_type": "{names.JWT_BEARER_ASSERTION_TYPE}"}}'
        return Fix(f'form.pop("client_secret", None); headers.pop("Authorization", None); {line}', why)
    drop = 'form.pop("client_assertion", None); form.pop("client_assertion_type", None)'
    client_id = _quoted(facts.client.client_id)
    put = f'form |= {{"client_id": {client_id}, "client_secret": secret}}'
    if method == names.CLIENT_SECRET_POST:
        return Fix(f'{drop}; headers.pop("Authorization", None); {put}', why)
    # RFC 6749 section 2.3.1: a colon in the client_id is form-encoded, so that it does not end it.
    encoded = _quoted(quote_plus(facts.client.client_id))
    pair = f"base64.b64encode(({encoded} + ':' + secret).encode()).decode()"
    return Fix(f'{drop}; form.pop("client_secret", None); headers["Authorization"] = "Basic " + {pair}', why)


def _algorithm(refusal: Rejected, _: Facts) -> Fix:
    alg = refusal.expected.split(" or ")[0]
    return Fix(f'alg = header["alg"] = {_quoted(alg)}', f"the registered key is for {refusal.expected}")


def _key(refusal: Rejected, facts: Facts) -> Fix | None:
    """The kid of the key that made the signature, or of the only one there is."""
    if facts.hint is not None:
        return Fix(facts.hint.line, facts.hint.what)
    if facts.client is None or facts.client.record.jwks_uri is not None:  # it publishes its keys at a jwks_uri
        return None
    alg = facts.unverified.alg if facts.unverified else refusal.got if refusal.reason is Reason.KEY_NONE else ""
    fitting = sorted({alg for key in facts.client.keys.usable(facts.now) for alg in key.algorithms})
    if fitting and alg and alg not in fitting:
        return Fix(f'alg = header["alg"] = {_quoted(fitting[0])}', f"the registered keys are for {', '.join(fitting)}")
    return _register(facts)


def _register(facts: Facts) -> Fix | None:
    if facts.client is None:
        return None
    if facts.client.record.token_endpoint_auth_method == names.CLIENT_SECRET_JWT:
        return Fix(
            "secret = credentials['client_secret']", "another secret made the MAC than the one that is registered"
        )
    known = ", ".join(key.kid for key in facts.client.keys.usable(facts.now))
    line = f"affiant client update {shlex.quote(facts.client.client_id)} --public-key PUBLIC_KEY_FILE"
    return Fix(
        line, f"no registered key ({known}) made this signature, by any known mistake: register the one that did"
    )


def _jku(refusal: Rejected, _: Facts) -> Fix:
    return Fix('header.pop("jku", None)', f"jku may only be the registered jwks_uri, {refusal.expected}")


def _audience(refusal: Rejected, facts: Facts) -> Fix:
    got = f"; it is {refusal.got}" if refusal.got else ""
    return Fix(f'claims["aud"] = {_quoted(facts.issuer)}', f"the audience is the issuer, letter for letter{got}")


def _times(refusal: Rejected, facts: Facts) -> Fix:
    numbers = {n: v for n, v in facts.claims.items() if n in ("exp", "iat", "nbf") and isinstance(v, int | float)}
    if any(value > _MILLISECONDS for value in numbers.values()):
        return Fix(f'{_NEW_TIMES}; claims.pop("nbf", None)', "these are milliseconds; a JWT counts in seconds")
    if 0 <= numbers.get("exp", -1) < _DURATION:
        return Fix(_NEW_TIMES, "exp is a date, and not how long the assertion lives")
    offset = _offset(facts, numbers)
    if offset is not None and abs(offset - round(offset / _HALF_HOUR) * _HALF_HOUR) <= LEEWAY and abs(offset) > LEEWAY:
        hours = round(offset / _HALF_HOUR) / 2
        why = f"the times are {abs(hours):g} h {'ahead' if hours > 0 else 'behind'}: local time was taken for UTC"
        return Fix(f'{_NEW_TIMES}; claims.pop("nbf", None)', why)
    if refusal.reason is Reason.NOT_YET and (offset is None or abs(offset) <= LEEWAY):
        return Fix('claims.pop("nbf", None)', "nbf is later than iat, and not needed here")
    if refusal.reason is Reason.LIFETIME:
        return Fix(_NEW_TIMES, f"it would live longer than {_longest(facts)} s")
    if refusal.reason in (Reason.IAT_OLD, Reason.EXPIRED) and (facts.claimed or offset is None or _lives_long(numbers)):
        return Fix(f"{_NEW_TIMES}; {_NEW_JTI.partition('  #')[0]}", "each request needs a new assertion")
    side = "ahead" if offset is not None and offset > 0 else "behind"
    return Fix(_CLOCK, f"the clock that made it is {abs(int(offset or 0))} s {side}")


def _offset(facts: Facts, numbers: dict[str, float]) -> float | None:
    """Seconds that the sender's clock seems ahead of ours, by when it says that it made the assertion."""
    made = numbers.get("iat", numbers.get("nbf"))
    return None if made is None else made - facts.now


def _lives_long(numbers: dict[str, float]) -> bool:
    return numbers.get("exp", 0) - numbers.get("iat", 0) > MAX_LIFETIME


def _longest(facts: Facts) -> int:
    return LIFETIMES[facts.client.record.lifetime_policy] if facts.client else MAX_LIFETIME


def _replayed(_: Rejected, facts: Facts) -> Fix:
    """A line of code helps code that makes the jti itself; a library that caches its assertion needs longer tokens."""
    if facts.earlier is not None and facts.earlier.get("outcome") == "refused":
        why = (
            f"{_earlier(facts)}, which was refused for {facts.earlier.get('reason')}: a refused request uses up its jti"
        )
        return Fix(_NEW_JTI, why)
    if not facts.kept:
        return Fix(_NEW_JTI, f"{_earlier(facts)}; each request needs a new one")
    if facts.client is None or not _outlasts(facts, facts.client):
        return Fix(_NEW_JTI, f"{_earlier(facts)}; a retry and a second scope need a new one, whatever is set")
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
    asked = (facts.form.get("scope") or "").replace(",", " ").split() if facts.form else []
    kept = [name for name in asked if name in allowed] or allowed
    line = f'form["scope"] = {_quoted(" ".join(kept))}' if kept else 'form.pop("scope", None)'
    return Fix(line, f"the client may have: {refusal.expected or 'nothing'}")


def _no_common_scope(facts: Facts, client: RegisteredClient) -> Fix:
    """The registration is wrong, often by a letter, and not the request."""
    name = shlex.quote(client.client_id)
    offers = "; ".join(f"{api.identifier} has {' '.join(api.scopes) or 'none'}" for api in _apis(facts, client))
    return Fix(
        f"Ask the operator for  affiant client update {name} --scope SCOPE,  with a scope that the API has.",
        f"the client is registered for {' '.join(client.record.scope)}; {offers or 'it may ask for no API'}",
    )


def _scope_spelling(_: Rejected, facts: Facts) -> Fix:
    asked = (facts.form.get("scope") or "").replace(",", " ").split() if facts.form else []
    return Fix(f'form["scope"] = {_quoted(" ".join(asked))}', "names have one space between them")


def _resource(refusal: Rejected, facts: Facts) -> Fix:
    first = refusal.expected.split(" or ")[0]
    sent = facts.form.all("resource") if facts.form else ()
    name = "audience" if facts.form and facts.form.all("audience") and not sent else "resource"
    line = f'form["{name}"] = {_quoted(first)}' if first else f'form.pop("{name}", None)'
    return Fix(line, f"the client may ask for: {refusal.expected or 'no API'}")


def _quoted(text: str) -> str:
    """A string of Python, in plain ASCII: much of what is shown was chosen by whoever sent the request."""
    return json.dumps(text)


_TYPE = f'form["client_assertion_type"] = "{names.JWT_BEARER_ASSERTION_TYPE}"'
_ALONE = 'form.pop("client_secret", None); headers.pop("Authorization", None)'
_FIXES: dict[Reason, Callable[[Rejected, Facts], Fix | None]] = {
    Reason.METHOD: _say('method = "POST"; form |= query; query.clear()', "tokens are asked for by POST, with a form"),
    Reason.CONTENT_TYPE: _say(
        'headers["Content-Type"] = "application/x-www-form-urlencoded"', "the parameters are a form, not JSON"
    ),
    Reason.NO_BODY: _say(
        'headers["Content-Type"] = "application/x-www-form-urlencoded"; '
        f'form |= {{"grant_type": "{names.CLIENT_CREDENTIALS}", "client_assertion": token}}; {_TYPE}',
        "the parameters go into the body, as a form",
    ),
    Reason.IN_QUERY: _say("form |= query; query.clear()", "URLs are logged"),
    Reason.MISSING_PARAMETER: _missing,
    Reason.JWKS_UNAVAILABLE: _not_fetched,
    Reason.GRANT_UNSUPPORTED: _grant,
    Reason.HALF_ASSERTION: _say(_TYPE, "an assertion is sent with its type"),
    Reason.ASSERTION_TYPE: _say(_TYPE, "this type, letter for letter"),
    Reason.ASSERTION_AND_OTHER: _say(_ALONE, "an assertion is sent alone"),
    Reason.MULTIPLE_METHODS: _say('headers.pop("Authorization", None)', "one way to authenticate, not two"),
    Reason.MISPLACED_ASSERTION: _say(
        f'form["client_assertion"] = form.pop("assertion"); {_TYPE}; {_ALONE}; claims["sub"] = claims["iss"]',
        "with client_credentials the JWT goes into client_assertion",
    ),
    Reason.NO_CREDENTIALS: _say(f'form["client_assertion"] = token; {_TYPE}', "nothing says who asks"),
    Reason.JWT_CHARACTERS: _characters,
    Reason.JWT_PARTS: _parts,
    Reason.JWT_ENCRYPTED: _say(_LIBRARY, "it is encrypted; it must be signed only"),
    Reason.JWT_BASE64URL: _say(_ENCODE, "a part is not canonical base64url"),
    Reason.JWT_JSON: _say(_LIBRARY, "header and payload are each one JSON object"),
    Reason.JWT_CRIT: _say('header.pop("crit", None); header.pop("b64", None)', "no extension is understood here"),
    Reason.JWT_ALG: _say(_LIBRARY, "the header does not say how it is signed"),
    Reason.JWT_KID: _say('header.pop("kid", None)', "a kid is the name of a registered key, or is left out"),
    Reason.JWT_TYP: _say('header["typ"] = "client-authentication+jwt"', "the type says that it is something else"),
    Reason.TYP_EXPLICIT: _say('header["typ"] = "client-authentication+jwt"', "this client's assertions must say so"),
    Reason.ISS_SUB: _names,
    Reason.CLIENT_ID: _say('form["client_id"] = claims["iss"]', "the parameter names another client"),
    Reason.CLIENT_UNKNOWN: _unknown,
    Reason.CLIENT_DISABLED: _enable,
    Reason.CLIENT_METHOD: _method,
    Reason.KEY_ALGORITHM: _algorithm,
    Reason.KEY_UNKNOWN: _key,
    Reason.KEY_NONE: _key,
    Reason.SIGNATURE: _key,
    Reason.JKU: _jku,
    Reason.AUDIENCE: _audience,
    Reason.EXP_MISSING: _say(_NEW_TIMES, "exp is seconds since 1970, as a number"),
    Reason.TIME_CLAIM: _say(f'{_NEW_TIMES}; claims.pop("nbf", None)', "times are seconds since 1970, as numbers"),
    Reason.EXPIRED: _times,
    Reason.LIFETIME: _times,
    Reason.NOT_YET: _times,
    Reason.IAT_FUTURE: _times,
    Reason.IAT_OLD: _times,
    Reason.JTI: _say(_NEW_JTI, "the server remembers it, so that it is used once"),
    Reason.REPLAYED: _replayed,
    Reason.SCOPE_MALFORMED: _scope_spelling,
    Reason.SCOPE_NOT_ALLOWED: _scope,
    Reason.RESOURCE_MALFORMED: _resource,
    Reason.RESOURCE_NOT_ALLOWED: _resource,
    Reason.RESOURCE_MISSING: _resource,
    Reason.RESOURCE_CONFLICT: _say('form.pop("audience", None)', "audience is another name of resource here"),
}
