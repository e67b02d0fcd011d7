"""10,000 tokens before three readers: whatever affiant accepts, joserfc and PyJWT accept too and read the same.

Where one of them accepts what affiant refuses, the reason stands below with the sentence why. Nothing else may differ.
"""

import json
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import joserfc.jws
import jwt
import pytest
from joserfc._rfc7515.registry import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry
from jwt.algorithms import OKPAlgorithm
from tests.differential.conftest import Pair
from tests.differential.tokens import CHANGES, CLIENT, Token, make

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.claims import LEEWAY
from affiant.oauth import assertion
from affiant.testing import ISSUER, NOW

Result = TypeVar("Result")
COUNT, SEED = 10_000, 20_261_121
RULES = assertion.Rules(ISSUER, f"{ISSUER}/token")
REQUIRED = ("iss", "sub", "aud", "exp", "jti")

# Why affiant refuses what another reader accepts: its reason, and for JSON the beginning of the detail too.
STRICTER = {
    "JWT_CHARACTERS": "RFC 7515 section 2 has no padding; PyJWT takes it, since some issuers send it.",
    "JWT_CRIT": "RFC 7515 section 4.1.11: crit and b64 change what is signed; nothing here supports them, so none passes.",
    "JWT_KID": "A kid is looked up and written to the audit log, so it has 1 to 256 characters; others take an empty one.",
    "JWT_JSON: a member occurs twice": "RFC 7519 section 4 lets a reader refuse; others take the last one, some the first.",
    "JWT_JSON: NaN": "RFC 8259 section 6 has no NaN; Python's json does, and no comparison with it is true.",
    "JWT_JSON: Infinity": "RFC 8259 section 6 has none; an exp of Infinity would never pass.",
    "JWT_JSON: -Infinity": "The same.",
    "JWT_JSON: a number is too large": "1E400 becomes Infinity in Python, another value elsewhere.",
    "JWT_JSON: a lone surrogate": "It cannot be stored or logged as UTF-8, nor compared alike by everybody.",
    "JWT_JSON: 'utf-8' codec": "A surrogate in the bytes themselves; Python's json lets it through, UTF-8 does not have it.",
    "JWT_JSON: nested too deeply": "RFC 8259 section 9 allows a limit, and 16 levels bound the work.",
    "JWT_JSON: Expecting value": "A byte-order mark before the object (RFC 8259 section 8.1); Python's json drops it.",
    # of the claims
    "JWT_TYP": "RFC 8725 section 3.11: a token of another kind is no client assertion; the others do not look.",
    "AUDIENCE": "rfc7523bis section 4: the issuer as the only audience; the others want it among several.",
    "EXP_MISSING": "An integer far beyond any date (10^20) is no time here; the others take it.",
    "TIME_CLAIM": "RFC 7519 section 2: a time is a number; PyJWT takes text and true as well.",
    "LIFETIME": "At most 300 s ahead, so that a used jti need not be kept for years; the others have no limit.",
    "IAT_OLD": "The same, backwards.",
    "IAT_FUTURE": "PyJWT drops the fraction of a second before it compares.",
    "NOT_YET": "The same.",
    "JTI": "A jti is 1 to 256 characters: an empty one is no identifier, and a longer one only costs.",
}
# Why affiant accepts what another reader refuses: the reader, and the beginning of what it says. Each is held to its
# sentence by a test below.
_UNREAD = "Nobody here reads this member, so its kind cannot matter (RFC 8725 section 3.10: never followed)."
LOOSER = {
    **{f"joserfc: invalid_header_value: '{name}'": _UNREAD for name in ("cty", "jku", "jwk", "x5u", "x5c", "x5t")},
    "joserfc: invalid_header_value: 'typ'": "The reader leaves typ to assertion.check_names, which refuses it: JWT_TYP.",
}


@dataclass(frozen=True)
class Compared:
    """One token before all three: a refusal is an exception, what was read is the JSON of header and claims."""

    token: Token
    ours: Rejected | str
    judged: Rejected | None
    others: dict[str, Exception | str]
    others_judged: dict[str, Exception | None]


class _Registry(JWSRegistry):
    """joserfc's, with affiant's limit of length, so that it reads whatever affiant reads."""

    max_header_length = max_signature_length = compact.MAX_CHARACTERS


_PYJWT, _PYJWT_CLAIMS = jwt.PyJWS(), jwt.PyJWT()
_PYJWT.register_algorithm("Ed25519", OKPAlgorithm())  # it knows only the older name
_JOSERFC_CLAIMS = JWTClaimsRegistry(
    now=NOW,
    leeway=LEEWAY,
    iss={"essential": True, "value": CLIENT},
    sub={"essential": True, "value": CLIENT},
    aud={"essential": True, "value": ISSUER},
    exp={"essential": True},
    jti={"essential": True},
)


def _told(header: dict[str, Any], payload: bytes) -> str:
    claims = json.loads(payload)
    if not isinstance(claims, dict):
        raise TypeError("the claims are no object")
    return json.dumps([header, claims], sort_keys=True)


def _by_joserfc(text: str, pair: Pair) -> str:
    registry = _Registry(algorithms=pair.algorithms, strict_check_header=False)
    read = joserfc.jws.deserialize_compact(text, pair.joserfc, registry=registry)
    return _told(read.headers(), read.payload or b"")


def _by_pyjwt(text: str, pair: Pair) -> str:
    read = _PYJWT.decode_complete(text, pair.pyjwt, algorithms=pair.algorithms)
    return _told(read["header"], read["payload"])


def _judge_by_pyjwt(claims: dict[str, Any]) -> None:
    """Its own checks, at a time that is given to them: `decode` would ask the clock."""
    judge: Any = _PYJWT_CLAIMS
    judge._validate_required_claims(claims, REQUIRED)
    for name, check in (("iat", judge._validate_iat), ("nbf", judge._validate_nbf), ("exp", judge._validate_exp)):
        if name in claims:
            check(claims, NOW, LEEWAY)
    judge._validate_iss(claims, CLIENT)
    judge._validate_sub(claims, CLIENT)
    judge._validate_aud(claims, ISSUER)
    judge._validate_jti(claims)


READERS: dict[str, Callable[[str, Pair], str]] = {"joserfc": _by_joserfc, "PyJWT": _by_pyjwt}
JUDGES: dict[str, Callable[[dict[str, Any]], None]] = {"joserfc": _JOSERFC_CLAIMS.validate, "PyJWT": _judge_by_pyjwt}


def _read(text: str, pair: Pair) -> tuple[compact.Verified | None, Rejected | str]:
    try:
        unverified = compact.parse(text)
        verified = compact.verify(unverified, pair.ours)
    except Rejected as refusal:
        return None, refusal
    return verified, json.dumps([verified.header, verified.claims], sort_keys=True)


def _judge(text: str, verified: compact.Verified) -> Rejected | None:
    try:
        assertion.check_names(compact.parse(text), client_id=CLIENT)
        assertion.verify(verified, rules=RULES, now=NOW, whole=text.encode("ascii"))
    except Rejected as refusal:
        return refusal
    return None


def _attempt(call: Callable[..., Result], *arguments: Any) -> Result | Exception:
    try:
        return call(*arguments)
    except Exception as error:  # noqa: BLE001 - however another library refuses, it refuses
        return error


def _compare(token: Token, pair: Pair) -> Compared:
    verified, ours = _read(token.text, pair)
    others = {name: _attempt(read, token.text, pair) for name, read in READERS.items()}
    if verified is None:
        return Compared(token, ours, None, others, {})
    claims = verified.claims
    judged = {name: _attempt(judge, claims) for name, judge in JUDGES.items()}
    return Compared(token, ours, _judge(token.text, verified), others, judged)


@pytest.fixture(scope="module")
def compared(pairs: dict[str, Pair]) -> list[Compared]:
    """Every token, before every reader."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joserfc and PyJWT warn of EdDSA and of short keys
        return [_compare(token, pairs[token.alg]) for token in make(pairs, count=COUNT, seed=SEED)]


def _listed(problems: list[Any]) -> str:
    return f"{len(problems)}, such as " + "\n".join(map(repr, problems[:5]))


def _stricter(refusal: Rejected) -> str:
    return f"{refusal.reason.name}: {refusal.detail}" if refusal.reason is Reason.JWT_JSON else refusal.reason.name


def _row(table: dict[str, str], told: str) -> str | None:
    return next((key for key in table if told == key or (": " in key and told.startswith(key))), None)


def _looser(found: Compared) -> list[tuple[str, Exception]]:
    """What refuses, although affiant accepts: signatures, and claims."""
    read = [] if isinstance(found.ours, Rejected) else found.others.items()
    judged = found.others_judged.items() if found.judged is None else []
    return [(name, error) for name, error in (*read, *judged) if isinstance(error, Exception)]


def _refused_alone(found: Compared) -> list[Rejected]:
    """Affiant's refusal of what at least one other reader accepts."""
    if isinstance(found.ours, Rejected):
        return [found.ours] if any(isinstance(told, str) for told in found.others.values()) else []
    return [found.judged] if found.judged and None in found.others_judged.values() else []


def test_accepted_here_is_accepted_everywhere(compared: list[Compared]) -> None:
    """The forbidden direction: a token that only affiant takes."""
    looser = [(f"{name}: {error}", found.token) for found in compared for name, error in _looser(found)]
    unexplained = [one for one in looser if _row(LOOSER, one[0]) is None]
    assert not unexplained, _listed(unexplained)
    assert {_row(LOOSER, told) for told, _ in looser} == set(LOOSER), "a row of LOOSER is no longer needed"


def test_accepted_everywhere_is_read_alike(compared: list[Compared]) -> None:
    """No token says one thing here and another there."""
    differing = [
        (found.ours, told, found.token)
        for found in compared
        for told in found.others.values()
        if isinstance(found.ours, str) and isinstance(told, str) and told != found.ours
    ]
    assert not differing, _listed(differing)


def test_refused_here_alone_is_explained(compared: list[Compared]) -> None:
    """The allowed direction, each reason with its sentence."""
    refused = [(_stricter(refusal), found.token) for found in compared for refusal in _refused_alone(found)]
    unexplained = [one for one in refused if _row(STRICTER, one[0]) is None]
    assert not unexplained, _listed(unexplained)
    assert {_row(STRICTER, told) for told, _ in refused} == set(STRICTER), "a row of STRICTER is no longer needed"


def test_looser_rows_are_exact(compared: list[Compared]) -> None:
    """A typ of another kind is refused in the end, and what PyJWT calls expired is within its lost second."""
    for found in compared:
        for _, error in _looser(found):
            if "'typ'" in str(error):
                assert found.judged is not None, found
                assert found.judged.reason is Reason.JWT_TYP, found
            if "expired" in str(error):
                exp = json.loads(str(found.ours))[1]["exp"]
                assert -1 < exp - int(exp) < 1, found
                assert NOW - LEEWAY < exp < NOW - LEEWAY + 1, found


def test_comparison_is_not_empty(compared: list[Compared]) -> None:
    """At least three of ten are accepted by all, every algorithm and every change occurs, and every answer too."""
    assert len(compared) == COUNT
    agreed = [found for found in compared if isinstance(found.ours, str) and not found.judged and not _looser(found)]
    by_algorithm = Counter(found.token.alg for found in agreed)
    print(f"{len(agreed)} of {COUNT} accepted by all: {by_algorithm}")
    assert len(agreed) >= 0.3 * COUNT, by_algorithm
    assert min(by_algorithm[alg] for alg in ("HS256", "ES256", "Ed25519", "RS256", "PS256")) >= 100, by_algorithm
    outcomes = defaultdict[str, set[bool]](set)
    for found in compared:
        for change in found.token.changes:
            outcomes[change].add(isinstance(found.ours, str) and found.judged is None)
    assert set(outcomes) == set(CHANGES)
    always_refused = {"no member", "wrong key"} - {name for name, seen in outcomes.items() if True in seen}
    assert not always_refused, "not one of these was accepted, though some should be"
