"""Tokens by the thousand: valid ones, and ones that are wrong in one or two ways. The seed decides which."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.differential.conftest import Pair

from affiant.jose import base64url
from affiant.testing import ISSUER, NOW

CLIENT = "c1"
ALGORITHMS = ("HS256",) * 8 + ("ES256",) * 5 + ("Ed25519",) * 5 + ("RS256", "PS256")
_KINDS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 0.5, "", "x"),
    *([], ["x"], [1], {}, {"x": 1}, 10**20, "é", "\U0001f600"),
)
_BORDERS = (-331, -330, -329, -301, -300, -299, -31, -30, -29, -1, 0, 1, 29, 30, 31, 299, 300, 301, 329, 330, 331)
_SPELLINGS = (
    *("1e3", "1E400", "-1e400", "1.0", "-0", "-0.0", "01", "+1", "1.", ".5", "0x10", "NaN", "Infinity", "-Infinity"),
    *("1800000060.0", "18e8", "1.80000006e9", "1800000060.5", "1_800_000_060", "9" * 5_000, "true", "TRUE", "'x'"),
)
_ODD_BYTES = (
    *(b"\xef\xbb\xbf%s", b"%s ", b" \n%s\t", b"%s\x00", b"%s{}", b"[%s]", b'"%s"', b"", b"null", b"[]", b"1", b"{}"),
    *(b"%s//", b"\xff%s", b"%s,", b"\x00%s"),
)


@dataclass(frozen=True)
class Token:
    """A token, the key it is to be verified with, and what was done to it."""

    text: str
    alg: str
    changes: tuple[str, ...]


class _Draft:
    """A token before it is signed: two lists of members, each a name and a spelling of its value."""

    def __init__(self, random_: random.Random, alg: str, kid: str | None, serial: int) -> None:
        self.random = random_
        self.alg = alg
        header = {"alg": alg, "typ": "JWT", **({"kid": kid} if kid else {})}
        claims = {"iss": CLIENT, "sub": CLIENT, "aud": ISSUER, "exp": NOW + 60, "iat": NOW, "jti": f"j{serial}"}
        self.header = [(json.dumps(name), json.dumps(value)) for name, value in header.items()]
        self.claims = [(json.dumps(name), json.dumps(value)) for name, value in claims.items()]
        self.signer = alg
        self.rewrite: dict[str, bytes] = {}
        self.damage: Callable[[str], str] = str

    def put(self, part: list[tuple[str, str]], name: str, spelling: str) -> None:
        part[:] = [(key, value) for key, value in part if key != json.dumps(name)]
        part.append((json.dumps(name), spelling))

    def text(self, pairs: dict[str, Pair]) -> str:
        encoded = [base64url.encode(self._bytes(name)) for name in ("header", "claims")]
        signing_input = ".".join(encoded)
        signature = pairs[self.signer].signer.sign(signing_input.encode())
        return self.damage(f"{signing_input}.{base64url.encode(signature)}")

    def _bytes(self, name: str) -> bytes:
        members: list[tuple[str, str]] = getattr(self, name)
        data = ("{" + ",".join(f"{key}:{value}" for key, value in members) + "}").encode("utf-8", "surrogatepass")
        return self.rewrite[name].replace(b"%s", data) if name in self.rewrite else data


def make(pairs: dict[str, Pair], *, count: int, seed: int) -> Iterator[Token]:
    """That many tokens; two of five are as they should be."""
    random_ = random.Random(seed)
    for serial in range(count):
        alg = random_.choice(ALGORITHMS)
        signer = pairs[alg].signer
        draft = _Draft(random_, alg, signer.kid, serial)
        changes = tuple(random_.sample(sorted(CHANGES), random_.choice((0, 0, 1, 1, 2))))
        for name in changes:
            CHANGES[name](draft)
        yield Token(draft.text(pairs), alg, changes)


def _any_part(draft: _Draft) -> list[tuple[str, str]]:
    return draft.random.choice((draft.header, draft.claims))


def _alg(draft: _Draft) -> None:
    others = ("none", "None", "HS256", "HS512", "hs256", "ES256", "ES256K", "RS256", "PS256", "EdDSA", "Ed25519", "")
    value = draft.random.choice((*others, *_KINDS))
    draft.put(draft.header, "alg", json.dumps(value))
    if value in draft.random.sample(ALGORITHMS, 10):  # half of the swaps are signed as they say
        draft.signer = value


def _header_member(draft: _Draft) -> None:
    names = ("typ", "kid", "cty", "jku", "jwk", "x5u", "x5c", "x5t", "crit", "b64", "unknown", "é", "", "zip", "enc")
    draft.put(draft.header, draft.random.choice(names), json.dumps(draft.random.choice(_KINDS)))


def _typ(draft: _Draft) -> None:
    types = (
        "jwt",
        "JWT",
        "application/jwt",
        "at+jwt",
        "client-authentication+jwt",
        "Application/JWT",
        "dpop+jwt",
        "j w t",
    )
    draft.put(draft.header, "typ", json.dumps(draft.random.choice(types)))


def _crit(draft: _Draft) -> None:
    value, b64 = draft.random.choice((["exp"], ["b64"], ["alg"], ["x"], [])), draft.random.choice((None, True, False))
    draft.put(draft.header, "crit", json.dumps(value))
    if b64 is not None:
        draft.put(draft.header, "b64", json.dumps(b64))


def _double(draft: _Draft) -> None:
    part = _any_part(draft)
    name, value = draft.random.choice(part)
    part.insert(draft.random.randrange(len(part) + 1), (name, draft.random.choice((value, '"x"', "1800000070"))))


def _escape(draft: _Draft) -> None:
    """The same value in another spelling: still the same token."""
    part = _any_part(draft)
    at = draft.random.randrange(len(part))
    part[at] = tuple(
        '"' + "".join(f"\\u{ord(c):04x}" for c in text[1:-1]) + '"' if text.startswith('"') else text
        for text in part[at]
    )  # type: ignore[assignment]


def _surrogate(draft: _Draft) -> None:
    spelling = draft.random.choice(
        ('"\\ud800"', '"\\udc00x"', '"\\ud83d\\ude00"', '"\ud800"', '"\x01"', '"\\x"', '"\\u00"')
    )
    draft.put(_any_part(draft), draft.random.choice(("jti", "x", "kid")), spelling)


def _unknown(draft: _Draft) -> None:
    deep = draft.random.choice((1, 5, 14, 15, 16, 17, 200))
    value = draft.random.choice(
        (json.dumps(draft.random.choice(_KINDS)), "[" * deep + "]" * deep, '"' + "x" * 200 + '"')
    )
    draft.put(_any_part(draft), draft.random.choice(("scope", "cnf", "client_id", "x", "azp")), value)


def _number(draft: _Draft) -> None:
    name = draft.random.choice(("exp", "iat", "nbf", "x"))
    draft.put(draft.claims, name, draft.random.choice(_SPELLINGS))


def _border(draft: _Draft) -> None:
    seconds = draft.random.choice(_BORDERS) + draft.random.choice((0, 0, 0, 0.5, -0.5, 0.001))
    draft.put(draft.claims, draft.random.choice(("exp", "exp", "iat", "nbf")), json.dumps(NOW + seconds))


def _claim(draft: _Draft) -> None:
    name = draft.random.choice(("iss", "sub", "aud", "exp", "iat", "nbf", "jti"))
    draft.put(draft.claims, name, json.dumps(draft.random.choice(_KINDS)))


def _no_member(draft: _Draft) -> None:
    part = _any_part(draft)
    part.pop(draft.random.randrange(len(part)))


def _audience(draft: _Draft) -> None:
    other = "https://other.example"
    values = (
        [ISSUER],
        [ISSUER, other],
        [other],
        other,
        f"{ISSUER}/",
        f"{ISSUER}/token",
        [ISSUER, ISSUER],
        [ISSUER, 1],
        ISSUER,
    )
    draft.put(draft.claims, "aud", json.dumps(draft.random.choice(values)))


def _names(draft: _Draft) -> None:
    for name in draft.random.choice((("sub",), ("iss",), ("iss", "sub"))):
        draft.put(draft.claims, name, json.dumps(draft.random.choice(("c2", "C1", "c1 ", "x" * 257))))


def _long_jti(draft: _Draft) -> None:
    draft.put(draft.claims, "jti", json.dumps("x" * draft.random.choice((1, 255, 256, 257, 3_000))))


def _bytes(draft: _Draft) -> None:
    draft.rewrite[draft.random.choice(("header", "claims"))] = draft.random.choice(_ODD_BYTES)


def _wrong_key(draft: _Draft) -> None:
    draft.signer = draft.random.choice(("HS256", "ES256", "Ed25519"))


def _spell(draft: _Draft) -> None:
    """Change the characters of the compact form: padding, the other alphabet, white space, dots, a cut."""
    random_ = draft.random

    def damage(text: str) -> str:
        at, parts = random_.randrange(len(text)), text.split(".")
        which = random_.randrange(3)
        padded = [part + "=" * (-len(part) % 4 or 4) if n == which else part for n, part in enumerate(parts)]
        other = [part.replace("-", "+").replace("_", "/") if n == which else part for n, part in enumerate(parts)]
        bits = [part[:-1] + chr(ord(part[-1]) + 1) if n == which and part else part for n, part in enumerate(parts)]
        empty = ["" if n == which else part for n, part in enumerate(parts)]
        inserted = random_.choice(("=", "+", "/", " ", "\n", ".", "A", "\x00", "é", "%"))
        return random_.choice(
            (
                *(".".join(changed) for changed in (padded, other, bits, empty)),
                *(text[:at], text[at:], text[:at] + inserted + text[at:], text + "." + parts[2], text + ".a.b"),
                *(text + "\n", " " + text, text[:at] + text[at:].swapcase(), text + "AAAA", text + "A" * 8_192),
            )
        )

    draft.damage = damage


CHANGES: dict[str, Callable[[_Draft], None]] = {
    "alg": _alg,
    "header member": _header_member,
    "typ": _typ,
    "crit": _crit,
    "doubled member": _double,
    "escapes": _escape,
    "surrogates": _surrogate,
    "unknown member": _unknown,
    "number": _number,
    "border": _border,
    "claim": _claim,
    "no member": _no_member,
    "audience": _audience,
    "names": _names,
    "long jti": _long_jti,
    "bytes": _bytes,
    "wrong key": _wrong_key,
    "spelling": _spell,
    "spelling again": _spell,
    "border again": _border,
}
