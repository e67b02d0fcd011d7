"""The readers of a certificate's header and of authorization_details: their own refusals only, and soon."""

import contextlib
import json
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.certificates import client_cert, make
from tests.fuzz.strategies import INDEX, ODD_VALUES, TEXTS, VALUES, some
from tests.fuzz.test_fuzz import in_both_profiles

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth.binding import distinguished, forwarded, mtls, subject
from affiant.oauth.parameters import authorization_details

MAX_SECONDS = 0.010  # of processor time
TRIES = 5  # the least of them counts: what else this machine does is not the reader's fault

_NAMED = make(dns=("svc.example",), uri=("spiffe://example/svc",), ip=("192.0.2.7",), email=("svc@example.com",))
_DER = tuple(made.der for made in (_NAMED, make(dn="CN=self"), make(dns=tuple(f"a{n}.example" for n in range(400)))))


def soon(read: Callable[[], Any]) -> Any:
    """What it gives or raises, when that takes no longer than it may."""
    mtls._parse.cache_clear()
    begin = time.thread_time()
    try:
        return read()
    finally:
        if time.thread_time() - begin > MAX_SECONDS:
            assert min(_seconds(read) for _ in range(TRIES)) <= MAX_SECONDS


def _seconds(read: Callable[[], Any]) -> float:
    mtls._parse.cache_clear()
    begin = time.thread_time()
    with contextlib.suppress(ValueError, Rejected):
        read()
    return time.thread_time() - begin


@st.composite
def _certificates(draw: st.DrawFn) -> bytes:
    """A certificate of which a few bytes are others, more or gone."""
    data = bytearray(draw(st.sampled_from(_DER)))
    for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2, 3)))):
        at = draw(INDEX) % len(data)
        way = draw(st.sampled_from(("change", "change", "flip", "cut", "insert", "drop")))
        if way == "change":
            data[at] = draw(st.integers(0, 255))
        elif way == "flip":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif way == "cut":
            del data[at + 1 :]
        elif way == "insert":
            data[at:at] = draw(st.binary(max_size=8))
        else:
            del data[at]
        data = data or bytearray(b"0")
    return bytes(data)


_SPELT = _certificates().map(lambda der: b":" + b64encode(der) + b":")
_DAMAGED = st.tuples(_SPELT, INDEX, st.binary(max_size=3)).map(
    lambda drawn: drawn[0][: drawn[1] % len(drawn[0])] + drawn[2] + drawn[0][drawn[1] % len(drawn[0]) :]
)
_LONG = st.sampled_from(
    (b":" * 60_000, b":" + b"A" * 60_000 + b":", b":" + b"A" * 60_000 + b"=", b" " * 60_000, b":MA==:")
)
_HEADERS = st.lists(st.one_of(_SPELT, _SPELT, _SPELT, _DAMAGED, _LONG, st.binary(max_size=60)), min_size=1, max_size=1)


@in_both_profiles
def test_bad_certificate_header_is_rejected(profile: settings) -> None:
    """Header.parse_values raises CERTIFICATE_HEADER and nothing else; what it takes can be compared with any name."""
    seen = Counter[str]()

    @settings(profile, max_examples=profile.max_examples // 2)
    @given(values=st.one_of(*[_HEADERS] * 9, st.lists(_SPELT, max_size=3)))
    def holds(values: Sequence[bytes]) -> None:
        try:
            certificate = soon(partial(forwarded.Header().parse_values, values))
        except Rejected as refusal:
            assert refusal.reason is Reason.CERTIFICATE_HEADER
            seen["refused"] += 1
            return
        seen["accepted"] += 1
        assert client_cert(certificate.der) == values[0].strip(b" ")
        for member, value in SUBJECTS.items():
            assert soon(partial(subject.has_subject, certificate, member, value)) in (True, False)

    holds()
    print(sorted(seen.items()))
    assert min(seen["accepted"], seen["refused"]) >= sum(seen.values()) / 20, seen


_WRITTEN = _certificates().map(
    lambda der: quote(
        "-----BEGIN CERTIFICATE-----\n" + b64encode(der).decode() + "\n-----END CERTIFICATE-----\n"
    ).encode()
)
_ELEMENTS = st.tuples(
    _WRITTEN, st.sampled_from((b"Cert", b"Chain", b"By")), st.sampled_from((b";", b",", b'"', b""))
).map(lambda drawn: b'Hash=00;%s="%s"%sURI=x' % (drawn[1], drawn[0], drawn[2]))


@in_both_profiles
@pytest.mark.parametrize("kind", ["nginx", "xfcc", "alb-passthrough"])
def test_bad_forwarded_header_is_rejected(profile: settings, kind: str) -> None:
    @settings(profile, max_examples=profile.max_examples // 4)
    @given(value=st.one_of(_WRITTEN, _ELEMENTS, _LONG, st.binary(max_size=60)))
    def holds(value: bytes) -> None:
        with contextlib.suppress(Rejected):
            soon(partial(forwarded.Header.parse(kind).parse_values, [value]))

    holds()


_NAMES = st.lists(
    st.sampled_from(
        ("CN=", "O = ", "OID.1.2.3=", "#0c0161", '"', "\\", "+", ", ", ",", "a", "é", "\\c3\\a9", " ", "/")
    ),
    max_size=40,
).map("".join)


@in_both_profiles
def test_distinguished_name_is_read_or_refused(profile: settings) -> None:
    @settings(profile, max_examples=profile.max_examples // 2)
    @given(text=st.one_of(_NAMES, _NAMES.map(lambda text: "CN=a," + text), st.text(max_size=200)))
    def holds(text: str) -> None:
        with contextlib.suppress(ValueError):
            name = soon(partial(distinguished.parse, text))
            assert name.matches(name)

    holds()


SUBJECTS = {
    subject.DN: "CN=self",
    subject.SAN_DNS: "svc.example",
    subject.SAN_URI: "spiffe://example/svc",
    subject.SAN_IP: "192.0.2.7",
    subject.SAN_EMAIL: "svc@example.com",
}

_MEMBERS = ("type", "locations", "actions", "datatypes", "privileges", "identifier", "instructedAmount", "x", "")
_FREE = some(("instructedAmount", "x", ""))  # that no rule speaks of
_NESTED = st.recursive(
    VALUES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3))
)


@st.composite
def _entries(draw: st.DrawFn, which: st.SearchStrategy[Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "payment", "actions": ["read"], "locations": ["https://api.example"]}
    for name in draw(which):
        entry[name] = draw(_NESTED)
    return entry


_DETAILS = st.one_of(
    st.lists(_entries(some(_MEMBERS)), max_size=3),
    st.lists(_entries(_FREE), max_size=3),
    st.lists(VALUES, max_size=20),
    VALUES,
)
_HOSTILE = st.sampled_from(
    (
        "[" + "[]," * 17 + '"' + '\\"' * 2_000,
        "[" * 2_000 + "]" * 2_000,
        '[{"type":"a","x":' + "[" * 13 + "]" * 13 + "}]",
        '[{"type":"a","x":' + "[" * 14 + "]" * 14 + "}]",
        '[{"type":"a","x":' + "9" * 4_000 + "}]",
        '[{"type":"a","x":1e' + "9" * 3_000 + "}]",
        '[{"type":"a","x":-0.' + "9" * 3_000 + "}]",
        '[{"type":"a","x":"' + "\\u00e9" * 600 + '"}]',
        '[{"type":"a","x":"' + "\\u0000" * 600 + '"}]',
        '[{"type":"a","type":"b"}]',
        "[" + ",".join(['{"type":"a"}'] * 17) + "]",
        '[{"type":"a","x":"\ud800"}]',
        '[{"type":"a","x":"\\ud800"}]',
        "\ufeff[]",
        " " * 5_000,
    )
)
_DETAIL_TEXTS = st.one_of(
    _DETAILS.map(json.dumps),
    _DETAILS.map(json.dumps),
    _DETAILS.map(json.dumps),
    st.tuples(_DETAILS.map(json.dumps), INDEX, TEXTS).map(
        lambda drawn: drawn[0][: drawn[1] % (len(drawn[0]) + 1)] + drawn[2] + drawn[0][drawn[1] % (len(drawn[0]) + 1) :]
    ),
    _HOSTILE,
    st.text('[]{}",:\\0e-type ', max_size=80),
)


@in_both_profiles
def test_bad_authorization_details_are_rejected(profile: settings) -> None:
    """authorization_details.parse raises ValueError and nothing else; what it takes can be written and read again."""
    seen = Counter[str]()

    @settings(profile, max_examples=profile.max_examples // 2)
    @given(text=_DETAIL_TEXTS)
    def holds(text: str) -> None:
        try:
            details = soon(partial(authorization_details.parse, text))
        except ValueError:
            seen["refused"] += 1
            return
        seen["accepted"] += 1
        written = authorization_details.render(details)
        assert authorization_details.parse(written) == details
        assert all(authorization_details.is_among(entry, details) for entry in details)
        for entry in details:
            assert all(isinstance(place, str) for place in authorization_details.locations(entry))

    holds()
    print(sorted(seen.items()))
    assert min(seen["accepted"], seen["refused"]) >= sum(seen.values()) / 20, seen


@pytest.mark.parametrize("name", _MEMBERS)
def test_odd_members_are_read_or_rejected(name: str) -> None:
    for value in ODD_VALUES:
        text = json.dumps([{"type": "payment", name: value}])
        try:
            soon(partial(authorization_details.parse, text))
        except ValueError as refusal:
            str(refusal).encode()
