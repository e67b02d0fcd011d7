"""What a stranger may send: forms, headers, claims and assertions, mostly near enough to right to get far.

Strategies are made once, here: to make one takes longer than to draw from it.
"""

import base64
import itertools
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

from hypothesis import strategies as st
from tests.fuzz.house import FOREIGN, STRANGER, sign
from tests.wire import FORM_TYPE, Request

from affiant.jose.keys import PrivateKey, SecretKey
from affiant.oauth import names
from affiant.testing import ISSUER, KEY, NOW

Strategy = st.SearchStrategy

CLIENTS = ("c1", "c2", "off", "basic", "post", "mac", "guide", "nobody")
MAC = SecretKey(b"x" * 43)
SIGNERS: tuple[PrivateKey | SecretKey, ...] = (KEY, KEY, KEY, FOREIGN, STRANGER, MAC)
_ODD_TEXT = ("", " ", "\x00", "é" * 200, "x" * 300, '"\\', "\r\nset-cookie: a=b", "%", "<script>", "+", "=", "null")
ODD_VALUES: tuple[Any, ...] = (
    0,
    -1,
    True,
    None,
    1e308,
    -1e308,
    10**15 + 1,
    10**400,
    0.5,
    -0.0,
    NOW,
    NOW * 1000,
    str(NOW),
    [[]],
    "\ud800",
)
_BORDERS = (-331, -330, -329, -31, -30, -29, 0, 29, 30, 31, 60, 61, 300, 329, 330, 331)
_NAMES = (
    *("grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "assertion", "scope"),
    *("resource", "audience", "refresh_token", "code", "x", "", "Grant_Type"),
)

# What of a thing is odd: most often nothing. Borders of integers would be drawn more often than their middle.
INDEX = st.integers(0, 1 << 16)


def some(names: Sequence[str], *, is_rare: bool = False) -> Strategy[list[str]]:
    """One or two of these, or none."""
    few = st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)
    nothing = st.just(list[str]())
    # one_of would not weigh what stands in it twice; sampled_from does
    choice = st.sampled_from((True,) + (False,) * 5) if is_rare else st.sampled_from((True, True, False))
    return choice.flatmap(lambda is_odd: few if is_odd else nothing)


_CLIENT_IDS = st.sampled_from(CLIENTS)
TEXTS = st.one_of(st.sampled_from(_ODD_TEXT), st.text(max_size=40))
_PLAIN = st.one_of(st.sampled_from(ODD_VALUES), TEXTS, st.integers(), st.floats())
VALUES = st.one_of(_PLAIN, st.lists(_PLAIN, max_size=3), st.dictionaries(TEXTS, _PLAIN, max_size=2))
_INSTANTS = st.one_of(
    st.sampled_from(_BORDERS).map(lambda seconds: NOW + seconds),
    st.tuples(st.sampled_from(_BORDERS), st.floats(-1, 1)).map(lambda pair: NOW + pair[0] + pair[1]),
    st.sampled_from(ODD_VALUES),
)
_AUDIENCES = st.one_of(VALUES, st.lists(st.sampled_from((ISSUER, f"{ISSUER}/token", f"{ISSUER}/", "")), max_size=3))
_SERIAL = itertools.count()
_ODD_CLAIMS: dict[str, Strategy[Any]] = {
    **dict.fromkeys(("iss", "sub", "both"), _CLIENT_IDS),
    **{f"{name} of another kind": VALUES for name in ("iss", "sub", "jti", "cnf")},
    **dict.fromkeys(("exp", "iat", "nbf"), _INSTANTS),
    **{f"no {name}": st.none() for name in ("iss", "sub", "aud", "exp", "iat", "jti")},
    "aud": _AUDIENCES,
    "jti": st.just("again"),
}
_ODD_HEADERS: dict[str, Strategy[Any]] = {
    "alg": st.one_of(VALUES, st.sampled_from(("none", "HS256", "ES256", "RS256", "EdDSA", "es256", "ML-DSA-44"))),
    "typ": st.one_of(VALUES, st.sampled_from(("at+jwt", "client-authentication+jwt", "application/jwt"))),
    "kid": VALUES,
    "crit": st.one_of(VALUES, st.just(["exp"])),
    "b64": st.booleans(),
    "jwk": st.just(KEY.public().to_jwk()),
    "jku": TEXTS,
    "x5c": VALUES,
    "no alg": st.none(),
    "no kid": st.none(),
    "no typ": st.none(),
}
_WHICH_CLAIMS, _WHICH_HEADERS = some(sorted(_ODD_CLAIMS)), some(sorted(_ODD_HEADERS), is_rare=True)


def _change(members: dict[str, Any], name: str, value: object) -> None:
    if name.startswith("no "):
        members.pop(name.removeprefix("no "), None)
    elif name == "both":
        members["iss"] = members["sub"] = value
    else:
        members[name.split(" ", maxsplit=1)[0]] = value


@st.composite
def claims(draw: st.DrawFn) -> dict[str, Any]:
    """The claims of an assertion, of which a few may be odd, missing or more."""
    members: dict[str, Any] = {"iss": "c1", "sub": "c1", "aud": ISSUER, "exp": NOW + 60, "iat": NOW}
    members["jti"] = f"j{next(_SERIAL)}"  # one drawn would repeat, and most examples would end as replays
    for name in draw(_WHICH_CLAIMS):
        _change(members, name, draw(_ODD_CLAIMS[name]))
    return members


@st.composite
def headers(draw: st.DrawFn, alg: str, kid: str | None) -> dict[str, Any]:
    """A JOSE header, of which a few members may be odd, missing or more."""
    members: dict[str, Any] = {"alg": alg, "typ": "JWT", **({"kid": kid} if kid else {})}
    for name in draw(_WHICH_HEADERS):
        _change(members, name, draw(_ODD_HEADERS[name]))
    return members


_SPELLINGS = st.sampled_from(("plain",) * 20 + ("doubled", "mark", "more", "deep", "cut", "value", "bytes", "utf-16"))
_BYTES = st.binary(max_size=60)


@st.composite
def spelt(draw: st.DrawFn, members: Strategy[dict[str, Any]]) -> bytes:
    """An object as JSON, or as something near it."""
    text = json.dumps(draw(members))
    data = text.encode()
    spelling = draw(_SPELLINGS)
    if spelling == "value":
        return json.dumps(draw(VALUES)).encode()
    if spelling == "bytes":
        return draw(_BYTES)
    changed = {
        "doubled": data[:-1] + b"," + data[1:],
        "mark": b"\xef\xbb\xbf" + data,
        "more": data + b"{}",
        "deep": data.replace(b":", b":" + b"[" * 5_000, 1),
        "cut": data[: draw(INDEX) % (len(data) + 1)],
        "utf-16": text.encode("utf-16"),
    }
    return changed.get(spelling, data)


_CLAIMS = spelt(claims())
_HEADERS = [spelt(headers(key.alg, key.kid)) for key in SIGNERS]
_SIGNERS = st.sampled_from(range(len(SIGNERS)))
_DAMAGES = st.sampled_from(("none",) * 20 + ("head", "tail", "insert", "replace", "pad", "long", "text"))
_INSERTED = st.sampled_from((".", "=", "+", "/", " ", "\n", "A", "é", "\x00", "..", "?"))
_STRAY = st.text(max_size=60)


@st.composite
def assertions(draw: st.DrawFn) -> str:
    """A client assertion, rightly signed over whatever it says, and then perhaps damaged."""
    number = draw(_SIGNERS)
    text = sign(draw(_HEADERS[number]), draw(_CLAIMS), SIGNERS[number])
    damage = draw(_DAMAGES)
    if damage == "none":
        return text
    at = draw(INDEX) % len(text)
    changed = {"head": text[:at], "tail": text[at:], "pad": text + "==", "long": text + "A" * 8192}
    changed["replace"] = text[:at] + "A" + text[at + 1 :]
    if damage == "insert":
        return text[:at] + draw(_INSERTED) + text[at:]
    return changed[damage] if damage in changed else draw(_STRAY)


_ASSERTIONS = assertions()
_WAYS = st.sampled_from(("assertion",) * 6 + ("guide", "secret", "none", "raw"))
_RAW = st.one_of(st.binary(max_size=200), st.just(b"a=" + b"x" * 65_536), st.just(b"a&" * 40))
_ODD_PARAMETERS: dict[str, Strategy[str]] = {
    "scope": st.one_of(st.sampled_from(("read", "read write", "admin", "read  write", "x " * 70)), TEXTS),
    "resource": st.one_of(st.sampled_from(("https://api.example", "https://other.example", "api", "a:#")), TEXTS),
    "refresh_token": TEXTS,
    "client_id": st.one_of(_CLIENT_IDS, TEXTS),
    "client_secret": TEXTS,
    "grant_type": st.sampled_from(("refresh_token", "", "x", "authorization_code")),
    "client_assertion_type": TEXTS,
}
_WHICH_PARAMETERS = some(sorted(_ODD_PARAMETERS), is_rare=True)
_MORE = st.lists(st.tuples(st.sampled_from(_NAMES), TEXTS), max_size=2)
_QUOTINGS = st.sampled_from((*(quote_plus,) * 8, quote, lambda text, *_: text))


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """The body of a token request."""
    pairs = {"grant_type": "client_credentials"}
    way = draw(_WAYS)
    if way == "raw":
        return draw(_RAW)
    if way == "assertion":
        pairs |= {"client_assertion": draw(_ASSERTIONS), "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE}
    elif way == "guide":
        pairs |= {"assertion": draw(_ASSERTIONS), "client_id": draw(_CLIENT_IDS)}
    elif way == "secret":
        pairs |= {"client_id": draw(_CLIENT_IDS), "client_secret": draw(TEXTS)}
    for name in draw(_WHICH_PARAMETERS):
        pairs[name] = draw(_ODD_PARAMETERS[name])
    more = draw(_MORE) if "scope" in pairs else []
    return urlencode([*pairs.items(), *more], quote_via=draw(_QUOTINGS)).encode()


_BODIES = bodies()
_BASIC = st.tuples(_CLIENT_IDS, TEXTS).map(lambda pair: b"Basic " + base64.b64encode(":".join(pair).encode()))
_ODD_REQUESTS: dict[str, Strategy[Any]] = {
    "method": st.sampled_from(("GET", "PUT", "HEAD", "post", "")),
    "query": st.one_of(_BYTES, st.just(b"client_id=c1")),
    "type": st.sampled_from((b"", b"application/json", b"application/x-www-form-urlencoded; charset=utf-8", b"\xff")),
    "authorization": st.lists(st.one_of(_BASIC, _BASIC, _BYTES, st.just(b"Bearer x")), min_size=1, max_size=2),
    "cut": INDEX,
    "broken": st.just(True),
}
_WHICH_REQUESTS = st.sampled_from(((),) * 14 + tuple((name,) for name in _ODD_REQUESTS) + (("query", "authorization"),))


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A request to the token endpoint, whole or in pieces."""
    body = draw(_BODIES)
    odd = {name: draw(_ODD_REQUESTS[name]) for name in draw(_WHICH_REQUESTS)}
    cut = odd.get("cut", 0) % (len(body) + 1)
    return Request(
        pieces=(body[:cut], body[cut:]) if cut else (body,),
        method=odd.get("method", "POST"),
        query=odd.get("query", b""),
        headers=(
            (FORM_TYPE[0], odd.get("type", FORM_TYPE[1])),
            *((b"authorization", value) for value in odd.get("authorization", ())),
        ),
        is_whole="broken" not in odd,
    )
