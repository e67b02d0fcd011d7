"""Explain a refusal for which the server gives no reason.

A hint has what was sent, what the server's metadata list, and the likely remedy. It has no secret and no assertion.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from affiant.jose import base64url
from affiant.jose.strict_json import parse_object
from affiant.oauth import names
from affiant.oauth.metadata import Metadata
from affiant.system.text import printable

SKEW_SECONDS = 30  # a larger difference explains a refused assertion
_UNNOTICED = 2.0  # seconds: a Date has whole ones, and the answer takes time
_METHODS = "token_endpoint_auth_methods_supported"
_ALGORITHMS = "token_endpoint_auth_signing_alg_values_supported"
_MOST_LISTED = 12
_GRANT = "jwt-bearer grant"
# Words of a server's description, and which part of the assertion they are about.
_WORDS = {
    "aud": re.compile(r"\baud"),
    "time": re.compile(r"\bexp|\biat\b|\bnbf\b|\bclock|\blife"),
    "typ": re.compile(r"\btyp\b"),
    "key": re.compile(r"\bkid\b|\bkeys?\b|\bsignature|\bjwk"),
}


@dataclass(frozen=True, slots=True)
class Sent:
    """The authentication in a request."""

    method: str
    header: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    lifetime: int = 0

    @property
    def has_assertion(self) -> bool:
        return self.method in (names.PRIVATE_KEY_JWT, names.CLIENT_SECRET_JWT, _GRANT)


def explain(
    description: str, body: bytes, headers: dict[str, str], server: Metadata, *, now: float, skew: float | None
) -> str:
    """Return the lines; `skew` is how far the server's clock is ahead of `now`, in seconds, or None."""
    sent = _parse(body, headers)
    late = 0.0 if skew is None or not sent.claims else now + skew - float(sent.claims["iat"])
    methods, algs = _listed(server, _METHODS), _listed(server, _ALGORITHMS)
    lists = [f"{name} {', '.join(found)}" for name, found in ((_METHODS, methods), (_ALGORITHMS, algs)) if found]
    return "\n".join([
        f"  sent: {_shown(sent, skew)}",
        f"  its metadata list: {'; '.join(lists) or _no_list(server)}",
        f"  likely remedy: {_remedy(sent, methods, algs, description.lower(), server, late)}",
    ])  # fmt: skip


def _no_list(server: Metadata) -> str:
    return "neither authentication methods nor algorithms" if server.raw else "nothing: token_endpoint= replaces them"


def _parse(body: bytes, headers: dict[str, str]) -> Sent:
    form = dict(parse_qsl(body.decode("ascii")))
    text = form.get("client_assertion") or form.get("assertion")
    if text is None:
        if "authorization" in headers:
            return Sent(names.CLIENT_SECRET_BASIC)
        return Sent(names.CLIENT_SECRET_POST if "client_secret" in form else "a certificate")
    method = names.PRIVATE_KEY_JWT if "client_assertion" in form else _GRANT
    try:
        header, claims = (parse_object(base64url.decode(part)) for part in text.split(".")[:2])
        lives = int(claims["exp"]) - int(claims["iat"])
    except (ValueError, TypeError, KeyError):  # a claim of the caller's own
        return Sent(method)
    if str(header.get("alg")).startswith("HS") and method != _GRANT:
        method = names.CLIENT_SECRET_JWT
    return Sent(method, header, claims, lives)


def _shown(sent: Sent, skew: float | None) -> str:
    parts = [sent.method]
    if sent.claims:
        header, claims = sent.header, sent.claims
        parts += [f"{name} {_brief(header.get(name))}" for name in ("alg", "kid", "typ")]
        parts += [f"aud {_brief(claims.get('aud'))}", f"valid for {sent.lifetime} s"]
    if skew is None:
        return f"{', '.join(parts)}; the server sent no Date to compare the clocks"
    if abs(skew) <= _UNNOTICED:
        return f"{', '.join(parts)}; the clocks agree"
    return f"{', '.join(parts)}; this clock is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} the server's"


def _remedy(sent: Sent, methods: list[str], algs: list[str], description: str, server: Metadata, late: float) -> str:
    alg = sent.header.get("alg")
    if methods and sent.method in names.AUTH_METHODS and sent.method not in methods:
        return _method(sent.method, methods)
    if algs and alg is not None and alg not in algs:
        return f"sign with one of its algorithms: another key=, or alg= for the same one (not {alg})"
    if abs(late) > SKEW_SECONDS:  # or it was signed with the server's time
        return "set the clock of this machine"
    if not sent.has_assertion:
        return _without_assertion(sent.method)
    for part, words in _WORDS.items():
        if words.search(description):
            return _part(part, sent, server)
    rest = "" if sent.claims.get("aud") != server.issuer else f"; if it is registered, {_part('aud', sent, server)}"
    return f"{_part('key', sent, server)}{rest}"


def _method(method: str, methods: list[str]) -> str:
    if method in names.BY_SECRET:
        others = [name for name in methods if name in names.BY_SECRET]
        return f"auth_method={others[0]!r}" if others else "register a key or a certificate: it takes no secret"
    return f"authenticate by {' or '.join(methods)}: it does not take {method}"


def _without_assertion(method: str) -> str:
    if method == "a certificate":
        return "register this certificate, or its subject, for the client"
    other = names.CLIENT_SECRET_POST if method == names.CLIENT_SECRET_BASIC else names.CLIENT_SECRET_BASIC
    return f"check client_id and secret; some servers take it by auth_method={other!r} alone"


def _part(part: str, sent: Sent, server: Metadata) -> str:
    if part == "aud":
        if sent.claims.get("aud") == server.issuer:
            return "try unsafe_audience='token_endpoint'"
        return "leave unsafe_audience= out: the standard audience is the issuer"
    if part == "time":
        return "set the clock of this machine, or a shorter lifetime="
    if part == "typ":
        return 'try header={"typ": "JWT"}'
    kid = sent.header.get("kid")
    named = f"under kid {_brief(kid)}, or name the kid that it has there with kid=" if kid else "or name it with kid="
    who = f", and let {_brief(sent.claims.get('iss'))} act for sub" if sent.method == _GRANT else ""
    return f"register the public key {named}{who}"


def _listed(server: Metadata, name: str) -> list[str]:
    found = server.raw.get(name)
    texts = [printable(one, 50) for one in found if isinstance(one, str)] if isinstance(found, list) else []
    return texts[:_MOST_LISTED]


def _brief(value: object) -> str:
    return "none" if value is None else printable(value if isinstance(value, str) else str(value), 100)
