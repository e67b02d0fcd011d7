"""Build and verify DPoP proofs: the sender of a token has the key that it is bound to (RFC 9449).

Nonces and the memory of used proofs are here too: an authorization server and an API have the same rules.
"""

from __future__ import annotations

import heapq
import hmac
import json
import re
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose import base64url, compact
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.claims import instant, media_type, text
from affiant.jose.compact import Unverified
from affiant.jose.keys import PrivateKey, PublicKey, parse_public_jwk
from affiant.jose.signer import Signer
from affiant.oauth import names
from affiant.system.values import Value

MAX_AGE = 60  # seconds that iat may be old; FAPI 2.0 asks for no more
LEEWAY = 30  # seconds that iat may be ahead
MAX_CHARACTERS = 12_288  # a proof contains its key, and one of ML-DSA-87 is large
NONCE_SECONDS = 300  # for which one nonce is given out; it is accepted for as long again
MAX_REMEMBERED = 200_000  # proofs, about 30 MB: 2,000 a second for as long as they could be replayed
LEAST_NONCE_KEY = 16  # bytes
# Scheme, authority and path of an http URL, with the characters of a request line and without a user.
_URL = re.compile(
    r"(https?)://([A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?(/[!-\"$->@-~]*)?(?:\?[!-\"$-~]*)?(?:#[!-~]*)?",
    re.IGNORECASE,
)
_PORTS = {"http": "80", "https": "443"}
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")


@dataclass(frozen=True, slots=True)
class ProofKey:
    """The key of a client's proofs: a Signer without a kid, since each proof contains the public key."""

    signer: Signer = field(repr=False)
    jwk: dict[str, Any] = field(repr=False)
    thumbprint: str

    @classmethod
    def of(cls, key: PrivateKey) -> ProofKey:
        public = key.public()
        return cls(key, {name: value for name, value in public.jwk.items() if name != "kid"}, public.thumbprint)

    @property
    def alg(self) -> str:
        return self.signer.alg

    @property
    def kid(self) -> None:
        return

    def sign(self, data: bytes) -> bytes:
        return self.signer.sign(data)


class DpopProof(Value, frozen=True):
    """A valid proof. Whether it was used before is not checked yet."""

    jkt: str  # the thumbprint of its key (RFC 7638)
    digest: bytes  # by which it is remembered: SHA-256 of key and jti
    live_until: float  # the second after which it can no longer be accepted


def build(
    key: ProofKey,
    *,
    method: str,
    url: str,
    now: float,
    jti: str | None = None,
    nonce: str | None = None,
    access_token: str | None = None,
) -> str:
    """Return a proof for one request (RFC 9449 section 4.2); with a random jti of 128 bits if none is given."""
    claims = {"jti": jti or secrets.token_urlsafe(16), "htm": method, "htu": _target(url), "iat": int(now)}
    if nonce is not None:
        claims["nonce"] = nonce
    if access_token is not None:
        claims["ath"] = hash_of(access_token)
    return compact.sign({"typ": names.DPOP_TYP, "jwk": key.jwk}, claims, key)


def verify(
    values: Sequence[bytes],
    *,
    method: str,
    urls: tuple[str, ...],
    now: float,
    access_token: str | None = None,
    nonces: Nonces | None = None,
    algorithms: Sequence[str] = ASYMMETRIC,
) -> DpopProof:
    """Check the proof of a request by the list of RFC 9449 section 4.3, except for its replay.

    `urls` are the URLs of the request that its sender may know: several if the endpoint has an alias (RFC 8705
    section 5).
    """
    unverified = _parse(values)
    if media_type(unverified.header.get("typ")) != names.DPOP_TYP:
        raise Rejected(Reason.DPOP_TYPE, expected=names.DPOP_TYP)
    key = _key(unverified, algorithms)
    claims = _verify_signature(unverified, key)
    jti = text(claims, "jti")
    if jti is None:
        raise Rejected(Reason.DPOP_JTI)
    if claims.get("htm") != method:  # RFC 9110 section 9.1: methods are case-sensitive
        raise Rejected(Reason.DPOP_METHOD, expected=method)
    _check_url(claims.get("htu"), urls)
    live_until = _check_time(claims, now, nonces)
    # Not in constant time: the sender of the proof knows the token.
    if access_token is not None and claims.get("ath") != hash_of(access_token):
        raise Rejected(Reason.DPOP_TOKEN_HASH)
    # With the key: two clients may use the same jti.
    name = sha256(f"{key.thumbprint} {jti}".encode()).digest()
    return DpopProof(key.thumbprint, name, live_until)


def hash_of(access_token: str) -> str:
    """Return the claim ath of a proof for a request with this token (RFC 9449 section 4.2)."""
    return base64url.encode(sha256(access_token.encode()).digest())


def normalise(url: str) -> str:
    """Return the URL without query and fragment, in the normal form for comparison.

    As RFC 3986 sections 6.2.2 and 6.2.3 say: lower case for scheme and host, upper case for escapes, no escape that is
    not needed, no dot segments, no default port, and a path.
    """
    scheme, host, port, path = _split(url)
    host = _ESCAPE.sub(_unescape, host).lower()
    named = f":{port}" if port and port != _PORTS[scheme] else ""
    return f"{scheme}://{host}{named}{_without_dots(_ESCAPE.sub(_unescape, path))}"


class Nonces:
    """Nonces without storage: each is a MAC of the time, the same in all workers and nodes with this key."""

    def __init__(self, key: bytes, *, seconds: int = NONCE_SECONDS) -> None:
        if len(key) < LEAST_NONCE_KEY:
            raise ConfigError(f"the key of nonces must be at least {LEAST_NONCE_KEY} bytes long")
        self._key = key
        self._seconds = seconds

    def current(self, now: float) -> str:
        return self._of(int(now // self._seconds))

    def after(self, proof: DpopProof, now: float) -> str | None:
        """Return the nonce to give out for the next proof, or None if that of this proof is the newest."""
        is_newest = proof.live_until == float((int(now // self._seconds) + 2) * self._seconds)
        return None if is_newest else self.current(now)

    def verify(self, nonce: object, now: float) -> float:
        """Return the second until which this nonce is accepted, or raise DPOP_NONCE."""
        window = int(now // self._seconds)
        if isinstance(nonce, str):
            for given in (window, window - 1):
                if hmac.compare_digest(self._of(given).encode(), nonce.encode()):
                    return float((given + 2) * self._seconds)
        raise Rejected(Reason.DPOP_NONCE)

    def _of(self, window: int) -> str:
        return base64url.encode(hmac.digest(self._key, b"dpop nonce %d" % window, sha256)[:16])


class Replays:
    """The used proofs, in the memory of this process, for as long as they could be replayed.

    When the memory is full, the proofs that expire first are forgotten, and from then on all proofs are rejected that
    expire no later. So a flood may cost a valid proof, but no used one is accepted.
    """

    def __init__(self, *, most: int = MAX_REMEMBERED) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._used: set[bytes] = set()
        self._ends: list[tuple[float, bytes]] = []
        self._forgotten_until = float("-inf")

    def claim(self, proof: DpopProof, now: float) -> None:
        """Use up the proof, or raise DPOP_REPLAYED."""
        with self._lock:
            while self._ends and self._ends[0][0] < now:
                self._forget()
            if proof.digest in self._used or proof.live_until <= self._forgotten_until:
                raise Rejected(Reason.DPOP_REPLAYED)
            if len(self._used) >= self._most:
                self._forget()
            self._used.add(proof.digest)
            heapq.heappush(self._ends, (proof.live_until, proof.digest))

    def _forget(self) -> None:
        # While a clock is ahead, proofs are forgotten that could be replayed once it is set back.
        end, digest = heapq.heappop(self._ends)
        self._forgotten_until = max(self._forgotten_until, end)
        self._used.discard(digest)


def _parse(values: Sequence[bytes]) -> Unverified:
    if len(values) != 1:
        raise Rejected(Reason.DPOP_HEADERS, expected="1", got=str(len(values)))
    try:
        return compact.parse(values[0].decode("latin-1"), limit=MAX_CHARACTERS)
    except Rejected as refusal:
        raise Rejected(Reason.DPOP_MALFORMED, detail=refusal.reason.code) from None


def _key(unverified: Unverified, algorithms: Sequence[str]) -> PublicKey:
    document = unverified.header.get("jwk")
    if unverified.alg not in algorithms:
        raise Rejected(Reason.DPOP_ALGORITHM, expected=" ".join(algorithms))
    if not isinstance(document, dict):
        raise Rejected(Reason.DPOP_KEY, detail="no jwk")
    try:
        key = _known_key(json.dumps(document))
    except ConfigError as error:
        raise Rejected(Reason.DPOP_KEY, detail=str(error)) from None
    if unverified.alg not in key.algorithms:
        raise Rejected(Reason.DPOP_ALGORITHM, expected=" or ".join(sorted(key.algorithms)))
    return key


# A client's key is the same in every proof, and checking a new key costs more than verifying by it.
@lru_cache(maxsize=1024)
def _known_key(document: str) -> PublicKey:
    return parse_public_jwk(json.loads(document))


def _verify_signature(unverified: Unverified, key: PublicKey) -> dict[str, Any]:
    try:
        return compact.verify(unverified, key).claims
    except Rejected:
        raise Rejected(Reason.DPOP_SIGNATURE) from None


def _check_url(htu: object, urls: tuple[str, ...]) -> None:
    try:
        if isinstance(htu, str) and normalise(htu) in map(normalise, urls):
            return
    except ValueError:
        pass
    raise Rejected(Reason.DPOP_URL, expected=" or ".join(url.partition("?")[0] for url in urls))


def _check_time(claims: dict[str, Any], now: float, nonces: Nonces | None) -> float:
    """Return the second until which the proof is accepted: by its nonce if nonces are in use, else by its iat."""
    try:
        iat = instant(claims, "iat")
    except ValueError:
        iat = None
    if iat is None:
        raise Rejected(Reason.DPOP_TIME, expected="seconds since 1970")
    if nonces is not None:
        # Section 4.3 item 11: the nonce shows when the proof was made, so the clock of the client does not matter.
        return nonces.verify(claims.get("nonce"), now)
    if not now - MAX_AGE <= iat <= now + LEEWAY:
        raise Rejected(
            Reason.DPOP_TIME,
            expected=f"iat at most {MAX_AGE} s ago and {LEEWAY} s ahead",
            got=f"{int(iat - now)} s from now",
        )
    return iat + MAX_AGE


def _split(url: str) -> tuple[str, str, str, str]:
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("not an http or https URL")
    return found[1].lower(), found[2], (found[3] or "").lstrip("0"), found[4] or "/"


def _target(url: str) -> str:
    """Return the URL for htu, not normalised: not every server compares as section 4.3 asks."""
    bare = re.sub(r"^([^/]*//)[^/]*@", r"\1", re.split(r"[?#]", url, maxsplit=1)[0])  # without a user
    return bare if bare.count("/") > 2 else f"{bare}/"  # noqa: PLR2004 - two come before the host


def _unescape(escape: re.Match[str]) -> str:
    character = chr(int(escape[0][1:], 16))
    # RFC 3986 section 2.3: these never need an escape; `quote` knows the same list.
    is_plain = character.isascii() and quote(character, safe="") == character
    return character if is_plain else escape[0].upper()


def _without_dots(path: str) -> str:
    """Remove dot segments (RFC 3986 section 5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
