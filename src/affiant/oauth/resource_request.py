"""A request to a protected resource: read its access token with its binding, and judge it.

RFC 6750 for bearer tokens, RFC 9449 section 7 for DPoP, RFC 8705 section 3 for tokens bound to a certificate. The guard
of an API and the admin API share this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.claims import LEEWAY
from affiant.jose.compact import Unverified, Verified
from affiant.jose.key_set import KeySet
from affiant.oauth import access_token, bearer
from affiant.oauth.access_token import Accepted, AccessToken, JudgedToken
from affiant.oauth.binding import dpop
from affiant.oauth.binding.dpop import DpopProof, Nonces, Replays
from affiant.oauth.binding.mtls import Certificate
from affiant.system.values import Value

Scope = MutableMapping[str, Any]  # of ASGI

_PATH = "/%:@!$&'()*+,;=~-._"  # the characters of a path that need no escape
# A WebSocket begins as a GET of http (RFC 6455 section 4.1), and that is what a proof names.
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
READ = ("authorization", "dpop")  # the headers that a check of a token reads


class Proved(Value, frozen=True):
    """A request with proofs of possession (RFC 9449).

    Attributes:
        method: of the request.
        url: of the request, as its sender knows it.
        proofs: every value of its DPoP header.
    """

    method: str
    url: str
    proofs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one protected resource, and its memory of used proofs."""

    issuer: str
    audience: str  # if it has several identifiers, the first
    leeway: int = LEEWAY  # seconds
    schemes: tuple[str, ...] = (bearer.BEARER, bearer.DPOP)
    proof_algorithms: Sequence[str] = ASYMMETRIC
    nonces: Nonces | None = None
    replays: Replays = field(default_factory=Replays)
    other_issuers: tuple[str, ...] = ()

    @property
    def issuers(self) -> tuple[str, ...]:
        return self.issuer, *self.other_issuers


def read(scope: Scope, *, base: str | None) -> tuple[list[bytes], Proved | None]:
    """Return every value of the Authorization header, and what a proof must match if the request has one.

    `base` is where callers reach the resource, before the path; None takes scheme and Host from the request.
    """
    authorization, proofs = [], []
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization.append(value)
        elif name == b"dpop":
            proofs.append(value)
    if not proofs:
        return authorization, None
    url = (base or _origin(scope)) + path_of(scope)
    return authorization, Proved(scope.get("method", "GET"), url, tuple(proofs))


def check_query(query: bytes, authorization: Sequence[bytes]) -> None:
    """Raise TOKEN_REQUEST if the request has a token in its header and another in its URL (RFC 6750 section 3.1).

    A token in the URL alone is no credential here (section 2.3).
    """
    if not authorization or not (b"%" in query or b"access_token" in query):
        return
    names = [unquote_to_bytes(pair.partition(b"=")[0]) for pair in query.split(b"&")]
    if b"access_token" in names and bearer.parse_authorization(authorization) is not None:
        raise Rejected(Reason.TOKEN_REQUEST, detail="access_token in the query, too")


def _origin(scope: Scope) -> str:
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    return f"{_SCHEMES.get(scope.get('scheme', 'http'), 'http')}://{hosts[0] if hosts else ''}"


def path_of(scope: Scope) -> str:
    """Return the path as it was sent, if the server passes it on: a decoded path has several encodings."""
    raw: bytes | None = scope.get("raw_path")
    return raw.decode("latin-1") if raw else quote(scope["path"], safe=_PATH)


def from_environ(environ: Mapping[str, Any], names: Iterable[str] = READ) -> Scope:
    """Return the ASGI scope of a WSGI request (PEP 3333), with the headers that a check reads.

    `names` are those of the headers, in lower case.

    Attack: WSGI spells `Client-Cert` and `Client_Cert` alike, and a proxy may let the latter pass. So the header of a
    certificate is not read.
    """
    named = {name: environ.get(f"HTTP_{name.upper().replace('-', '_')}") for name in names}
    named["host"] = environ.get("HTTP_HOST") or _server_of(environ)
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""  # of gunicorn, of uWSGI and Werkzeug
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "") or "/"  # RFC 9110 section 4.2.3
    quoted = quote(path, safe=_PATH, encoding="latin-1")
    return {
        "type": "http",
        "method": environ.get("REQUEST_METHOD", "GET"),
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items() if value is not None],
        "raw_path": (target.partition("?")[0] if target.startswith("/") else quoted).encode("latin-1"),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
    }


def _server_of(environ: Mapping[str, Any]) -> str | None:
    """Return the host of a request without the header Host, as PEP 3333 has it."""
    name, port = environ.get("SERVER_NAME"), environ.get("SERVER_PORT")
    return f"{name}:{port}" if name and port else name  # a proof is compared without the usual port


def from_request(
    method: str, url: str, headers: Mapping[str, str] | Iterable[tuple[str, str]], *, peer: str | None = None
) -> Scope:
    """Return the ASGI scope of a request. A `url` that begins with a slash is a path, and `Host` completes it."""
    scheme, host, target = _split(url)
    given = [
        (name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        for name, value in _pairs(headers)
    ]
    if host is not None:
        given = [(name, value) for name, value in given if name != b"host"] + [
            (b"host", host.encode("latin-1", "replace"))
        ]
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "method": method,
        "scheme": scheme,
        "headers": given,
        "path": unquote(path),
        "raw_path": path.encode("latin-1", "replace"),
        "query_string": query.encode("latin-1", "replace"),
        "client": (peer, 0) if peer is not None else None,
    }


def _split(url: str) -> tuple[str, str | None, str]:
    """Return scheme, host and the rest of a URL. Attack: the path `//host/` is read as a host."""
    scheme, is_absolute, rest = ("http", "", url) if url.startswith("/") else url.partition("://")
    if not is_absolute:
        return "http", None, rest or url
    host, slash, path = rest.partition("/")
    return scheme.lower(), host, slash + path or "/"


def _pairs(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    return headers.items() if isinstance(headers, Mapping) else headers


def parse(text: str) -> Unverified:
    """Take an access token apart; raise TOKEN_MALFORMED."""
    try:
        return compact.parse(text)
    except Rejected as refusal:
        raise Rejected(Reason.TOKEN_MALFORMED, detail=refusal.reason.code) from None


def verify_signature(text: str, keys: KeySet) -> Verified:
    """Verify a token by the issuer's own keys; raise TOKEN_MALFORMED, TOKEN_KEY or TOKEN_SIGNATURE."""
    unverified = parse(text)
    key = keys.find(unverified.kid) if unverified.kid is not None else None
    if key is None:
        raise Rejected(Reason.TOKEN_KEY)
    try:
        return compact.verify(unverified, key)
    except Rejected:
        raise Rejected(Reason.TOKEN_SIGNATURE) from None


def verify(
    verified: Verified,
    presented: bearer.PresentedToken,
    *,
    rules: Rules,
    now: float,
    proved: Proved | None,
    certificate: Certificate | None,
) -> AccessToken:
    """Return the token if it is valid here and now, and if its sender may use it. Use up the proof."""
    judged = access_token.judge(verified, Accepted(rules.issuer, frozenset({rules.audience})))
    text = presented.token.encode("ascii")
    token, proof = admit(judged, presented.scheme, text, rules=rules, now=now, proved=proved, certificate=certificate)
    if proof is not None:
        rules.replays.claim(proof, now)
    return token


def admit(
    judged: JudgedToken,
    scheme: str,
    text: bytes,
    *,
    rules: Rules,
    now: float,
    proved: Proved | None,
    certificate: Certificate | None,
) -> tuple[AccessToken, DpopProof | None]:
    """Return the token if it is valid now and its sender may use it, with the proof: claim that last of all.

    `scheme` and `text` are as `bearer.split_authorization` returns them.

    Order: the proof comes after the token, so that a caller without a valid token costs no signature.
    """
    if scheme == bearer.BEARER:
        token = access_token.admit(judged, now=now, leeway=rules.leeway, certificate=certificate)
        if bearer.BEARER not in rules.schemes:
            raise Rejected(Reason.TOKEN_BINDING, detail="this API takes bound tokens only")
        return token, None
    bound = access_token.admit_bound(judged, now=now, leeway=rules.leeway, certificate=certificate)
    if proved is None:
        raise Rejected(Reason.TOKEN_BINDING, detail="no DPoP header")
    proof = dpop.verify(
        proved.proofs,
        method=proved.method,
        urls=(proved.url,),
        now=now,
        access_token=text.decode("ascii"),
        nonces=rules.nonces,
        algorithms=rules.proof_algorithms,
    )
    return access_token.release(bound, proof), proof
