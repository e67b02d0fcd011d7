"""Search for the known mistake that produces exactly this signature (step 7), after the answer to the request.

A hint has a code of the closed list HINTS, which the audit log keeps; its words are made from the code. The search is
bounded: a flood of bad signatures costs as much as SEARCHES of them each second. It does the same work for a client
that does not exist, so that a busy server discloses no names.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from affiant.jose import base64url
from affiant.jose.algorithms import ALGORITHMS
from affiant.jose.compact import Unverified
from affiant.jose.keys import PublicKey, SecretKey, VerificationKey
from affiant.jose.signature_form import EC_BYTES
from affiant.server.client_auth.stranger import STRANGER, dummy_keys
from affiant.server.registry.directory import RegisteredClient
from affiant.server.request.notes import Evidence, Request
from affiant.storage.entries import AuditRecord, Entry, JtiClaim
from affiant.storage.ports import Ledger

SECONDS = 1.0  # between two rounds of searches
SEARCHES = 2  # in one round
_WAITING = 8  # requests that wait for a search; further ones get none
EXPLAINED: Final = "explained"  # the outcome of the record with a hint
MAX_KEYS = 4  # of a client that are tried
KEPT, REPEATED = "jti.kept", "jti.repeated"
_NEW_JTI = 'claims["jti"] = secrets.token_urlsafe(16)'
_SIGN_WHAT_IS_SENT = 'signing_input = ".".join(token.split(".")[:2]).encode()'
_TEXT_IS_KEY = "key = secret.encode()"
_HASH = "a hash of the secret was used"
_INPUT = "{} was signed, and not the text that was sent"


class _Words(NamedTuple):
    what: str
    line: str
    names: int = 0  # how many names the words need


# The words of each code; {0} and {1} are the names that follow the code in a record.
HINTS = {
    "signature.der": _Words(
        "the signature is DER; a JWS has r and s one after the other (RFC 7518 section 3.4). librdkafka up to 2.16"
        " sends DER for {0}: use an RSA key and RS256 there",
        'signature = b"".join(n.to_bytes({size}, "big") for n in decode_dss_signature(signature))',
        1,
    ),
    "signature.hexadecimal": _Words(
        "the signature was written in hexadecimal", "signature = bytes.fromhex(signature.decode())"
    ),
    "signature.base64": _Words(
        "the signature was encoded in base64 twice",
        'signature = base64.urlsafe_b64decode(signature + b"==")',
    ),
    "signature.other_key": _Words("the signature fits the key {0}: only the kid is wrong", 'header["kid"] = {json}', 1),
    "signature.header_algorithm": _Words(
        "the signature is {0}'s, and the header says {1}", 'alg = header["alg"] = "{0}"', 2
    ),
    "signature.algorithm": _Words("the signature is {0}'s, and the header says {1}", 'alg = "{1}"', 2),
    "signature.of_hash": _Words(_INPUT.format("a hash of the text"), _SIGN_WHAT_IS_SENT),
    "signature.of_payload": _Words(_INPUT.format("the payload alone"), _SIGN_WHAT_IS_SENT),
    "signature.of_json": _Words(_INPUT.format("the JSON before its encoding"), _SIGN_WHAT_IS_SENT),
    "signature.of_base64": _Words(_INPUT.format("base64 or padded base64url"), _SIGN_WHAT_IS_SENT),
    "signature.of_other_json": _Words(_INPUT.format("the same JSON, written differently,"), _SIGN_WHAT_IS_SENT),
    "secret.white_space": _Words("the secret was used with white space at its end", "secret = secret.strip()"),
    "secret.quoted": _Words("the secret was used in quotation marks", "secret = secret.strip('\"')"),
    "secret.hexadecimal": _Words("the secret was written in hexadecimal before it was used", _TEXT_IS_KEY),
    "secret.base64": _Words("the secret was encoded in base64 before it was used", _TEXT_IS_KEY),
    "secret.hash": _Words(_HASH, _TEXT_IS_KEY),
    KEPT: _Words("the very assertion was used before", _NEW_JTI),
    REPEATED: _Words("another assertion with this jti was used before", _NEW_JTI),
    "secret.decoded": _Words("the secret was decoded, and its text is the key", _TEXT_IS_KEY),
}


@dataclass(frozen=True, slots=True)
class Hint:
    """A known mistake: its code, and the names that its words need (an alg, a kid; never a secret)."""

    code: str
    names: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The form in the audit log."""
        return " ".join((self.code, *self.names))

    @property
    def what(self) -> str:
        """The mistake, in words."""
        return HINTS[self.code].what.format(*self.names)

    @property
    def line(self) -> str:
        """A line of code that fixes it."""
        words = HINTS[self.code]
        if not words.names:
            return words.line
        return words.line.format(*self.names, json=json.dumps(self.names[0]), size=EC_BYTES.get(self.names[0]))


def parse(text: str | None) -> Hint | None:
    """Parse the text of a hint; None for a code that this version does not know."""
    code, _, rest = (text or "").partition(" ")
    if code not in HINTS:
        return None
    names = (rest,) if code == "signature.other_key" else tuple(rest.split())  # a kid may have spaces
    return Hint(code, names) if all(names[: HINTS[code].names]) and len(names) >= HINTS[code].names else None


def trace_id(of: str) -> str:
    """Return the trace id of the hint for this request."""
    return f"{of}.hint"


class Inquiry:
    """Takes refused requests, and records a hint for those that a known mistake explains."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._waiting: deque[tuple[Request, Evidence | JtiClaim]] = deque()

    def offer(self, request: Request) -> None:
        """Queue a request that was refused and recorded, if there is room."""
        evidence: Evidence | JtiClaim | None = request.notes.claim
        if request.notes.caller is None:
            evidence = request.notes.evidence
            # The record already has the hint of a signature whose form is wrong, which shows without a key.
            if evidence is not None and evidence.hint is not None:
                return
        if evidence is not None and len(self._waiting) < _WAITING:
            self._waiting.append((request, evidence))

    async def work(self) -> None:
        """Examine a few of the waiting requests. A hint that cannot be written is lost."""
        for _ in range(min(SEARCHES, len(self._waiting))):
            request, evidence = self._waiting.popleft()
            hint = await self._search(evidence, request.now)
            if hint is not None:
                record = AuditRecord(
                    at=self._clock(),
                    trace_id=trace_id(request.trace_id),
                    endpoint=request.endpoint,
                    outcome=EXPLAINED,
                    hint=hint.text,
                    subject=f"request {request.trace_id}",
                )
                await self._ledger.claim(Entry(record))

    async def _search(self, evidence: Evidence | JtiClaim, at: float) -> Hint | None:
        if isinstance(evidence, JtiClaim):
            until = await self._ledger.find_claim(evidence.client_id, evidence.digest)
            return Hint(KEPT if until == evidence.expires_at else REPEATED)
        return await asyncio.to_thread(find_for, evidence.client, evidence.unverified, evidence.text, now=at)


def find_for(client: RegisteredClient, unverified: Unverified, text: str, *, now: float) -> Hint | None:
    """Return the known mistake with one of the client's keys, or None; for STRANGER after the same work."""
    keys: Sequence[VerificationKey] = (*client.keys.usable(now), *(key for key, _ in client.macs))
    is_unknown = client.record is STRANGER.record  # with announced keys, it is another object of the same record
    return find(dummy_keys(unverified.alg) if is_unknown else keys, unverified, text)


def find(keys: Sequence[VerificationKey], unverified: Unverified, text: str) -> Hint | None:
    """Return the known mistake that explains the signature of this assertion, or None."""
    if unverified.alg.startswith("HS"):
        return _of_secret([key for key in keys if isinstance(key, SecretKey)], unverified)
    public = [key for key in keys if not isinstance(key, SecretKey)]
    for key in public:
        if _verifies(key, unverified.alg, unverified.signature, unverified.signing_input):
            return Hint("signature.other_key", (key.kid,))
    for key in public[:MAX_KEYS]:
        hint = _of_spelling(key, unverified) or _of_algorithm(key, unverified) or _of_input(key, unverified, text)
        if hint is not None:
            return hint
    return None


def _of_spelling(key: PublicKey, unverified: Unverified) -> Hint | None:
    alg = unverified.alg
    size = EC_BYTES.get(alg)
    with suppress(ValueError, OverflowError):
        if size is not None:
            raw = b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(unverified.signature))
            if _verifies(key, alg, raw, unverified.signing_input):
                return Hint("signature.der", (alg,))
    with suppress(ValueError):
        if _verifies(key, alg, bytes.fromhex(unverified.signature.decode("ascii")), unverified.signing_input):
            return Hint("signature.hexadecimal")
    with suppress(ValueError):
        if _verifies(key, alg, urlsafe_b64decode(unverified.signature + b"=="), unverified.signing_input):
            return Hint("signature.base64")
    return None


def _of_algorithm(key: PublicKey, unverified: Unverified) -> Hint | None:
    for name, algorithm in ALGORITHMS.items():
        is_other = algorithm.kty == key.kty and name != unverified.alg
        if is_other and _verifies(key, name, unverified.signature, unverified.signing_input):
            # If the key is for this algorithm, the header is wrong.
            return _of_other(name, unverified.alg, is_header=name in key.algorithms)
    return None


def _of_other(name: str, said: str, *, is_header: bool) -> Hint:
    # Attack: the header is the sender's. Only an algorithm's name may get into a line that an operator types.
    if is_header or said not in ALGORITHMS:
        return Hint("signature.header_algorithm", (name, said if said in ALGORITHMS else "another"))
    return Hint("signature.algorithm", (name, said))


def _of_input(key: PublicKey, unverified: Unverified, text: str) -> Hint | None:
    for code, data in _inputs(unverified, text):
        if _verifies(key, unverified.alg, unverified.signature, data):
            return Hint(code)
    return None


def _inputs(unverified: Unverified, text: str) -> Iterator[tuple[str, bytes]]:
    """Yield what programs sign instead of the first two parts."""
    head, payload = text.split(".")[:2]
    raw_head, raw_payload = base64url.decode(head), base64url.decode(payload)
    yield "signature.of_hash", sha256(unverified.signing_input).digest()
    yield "signature.of_hash", sha256(unverified.signing_input).hexdigest().encode()
    yield "signature.of_payload", payload.encode()
    yield "signature.of_payload", raw_payload
    yield "signature.of_json", raw_head + b"." + raw_payload
    for encode in (urlsafe_b64encode, b64encode):
        yield "signature.of_base64", encode(raw_head) + b"." + encode(raw_payload)
    for data in _rewritten(unverified, head, payload):
        yield "signature.of_other_json", data


def _rewritten(unverified: Unverified, head: str, payload: str) -> Iterator[bytes]:
    payloads = [base64url.encode(spelled) for spelled in _spellings(unverified.claims)]
    for spelled in map(base64url.encode, _spellings(unverified.header)):
        for other in (*payloads, payload):
            yield f"{spelled}.{other}".encode()
    for other in payloads:
        yield f"{head}.{other}".encode()


def _spellings(value: dict[str, Any]) -> Iterator[bytes]:
    for sort in (False, True):
        yield json.dumps(value, sort_keys=sort).encode()
        yield json.dumps(value, sort_keys=sort, separators=(",", ":")).encode()
        yield json.dumps(value, sort_keys=sort, indent=2).encode()


def _of_secret(secrets: Iterable[SecretKey], unverified: Unverified) -> Hint | None:
    for stored in secrets:
        for code, key in _misused(stored.secret):
            if _is_mac(key, unverified.alg, unverified):
                return Hint(code)
        for name in ("HS256", "HS384", "HS512"):
            if name != unverified.alg and _is_mac(stored.secret, name, unverified):
                return _of_other(name, unverified.alg, is_header=name == stored.alg)
    return None


def _misused(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield wrong keys that programs derive from a secret. The right key is its text (RFC 7518 section 3.2)."""
    for tail in (b"\n", b"\r\n", b" ", b"\n\n"):
        yield "secret.white_space", secret + tail
    yield "secret.quoted", b'"' + secret + b'"'
    yield "secret.hexadecimal", secret.hex().encode()
    yield "secret.base64", b64encode(secret)
    yield "secret.base64", urlsafe_b64encode(secret).rstrip(b"=")
    yield "secret.hash", sha256(secret).digest()
    yield "secret.hash", sha256(secret).hexdigest().encode()
    with suppress(ValueError):
        yield "secret.decoded", urlsafe_b64decode(secret + b"=" * (-len(secret) % 4))
    with suppress(ValueError):
        yield "secret.decoded", bytes.fromhex(secret.decode())


def _verifies(key: PublicKey, alg: str, signature: bytes, data: bytes) -> bool:
    algorithm = ALGORITHMS.get(alg)
    if algorithm is None or algorithm.kty != key.kty or algorithm.crv not in (None, key.crv):
        return False
    with suppress(InvalidSignature, ValueError):
        algorithm.verify(key.key, signature, data)
        return True
    return False


def _is_mac(secret: bytes, alg: str, unverified: Unverified) -> bool:
    algorithm = ALGORITHMS.get(alg)
    if algorithm is None or algorithm.kty != "oct" or not secret:
        return False
    with suppress(InvalidSignature, ValueError):
        algorithm.verify(secret, unverified.signature, unverified.signing_input)
        return True
    return False
