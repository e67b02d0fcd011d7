"""Who proves nothing learns nothing: until a proof held, every failure has one answer, byte for byte."""

import base64
import json
import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from tests.fuzz.house import STRANGER, House
from tests.wire import Reply, Request, post

from affiant.errors.reasons import Reason
from affiant.jose import base64url, keys
from affiant.jose.keys import SecretKey
from affiant.testing import KEY, form

pytestmark = pytest.mark.attack(45, 306)

EACH, SEED = 16, 306
SILENT_STEPS = range(5, 8)  # look-up, key, signature
_FORGED = keys.parse_private_jwk({**STRANGER.to_jwk(), "kid": KEY.kid})
_FORGED_MAC, _OTHER_MAC = SecretKey(b"x" * 43), SecretKey(b"x" * 64, "HS512")


def _der(text: str) -> str:
    """The same assertion with its signature in DER, which the log recognises, and the answer does not."""
    head, payload, signature = text.split(".")
    raw = base64url.decode(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    return f"{head}.{payload}.{base64url.encode(der)}"


def _payload_signed(text: str) -> str:
    head, payload, _ = text.split(".")
    return f"{head}.{payload}.{base64url.encode(KEY.sign(payload.encode()))}"


def _basic(client_id: str, secret: str) -> Request:
    pair = base64.b64encode(f"{client_id}:{secret}".encode())
    return post({"grant_type": "client_credentials"}, (b"authorization", b"Basic " + pair))


def _secret(client_id: str, secret: str) -> Request:
    return post({"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret})


def _guide(house: House, client_id: str) -> Request:
    text = house.valid(_FORGED_MAC, client_id)
    return post({"grant_type": "client_credentials", "assertion": text, "client_id": client_id})


# Every way to fail before a proof.
CASES: dict[str, Callable[[House], Request]] = {
    "bad signature": lambda house: post(form(house.valid(_FORGED))),
    "DER signature": lambda house: post(form(_der(house.valid()))),
    "DER signature, unknown client": lambda house: post(form(_der(house.valid(KEY, "no")))),
    "signed another text": lambda house: post(form(_payload_signed(house.valid()))),
    "unknown client": lambda house: post(form(house.valid(_FORGED, "no"))),
    "unknown client, long name": lambda house: post(form(house.valid(_FORGED, "n" * 200))),
    "disabled client": lambda house: post(form(house.valid(KEY, "off"))),
    "disabled client, bad signature": lambda house: post(form(house.valid(_FORGED, "off"))),
    "client with a secret": lambda house: post(form(house.valid(_FORGED, "basic"))),
    "unknown kid": lambda house: post(form(house.valid(STRANGER))),
    "alg not allowed": lambda house: post(form(house.valid(_OTHER_MAC, "mac"))),
    "alg of a MAC": lambda house: post(form(house.valid(_OTHER_MAC))),
    "bad MAC": lambda house: post(form(house.valid(_FORGED_MAC, "mac"))),
    "wrong secret": lambda _: _basic("basic", "wrong"),
    "wrong secret in the form": lambda _: _secret("post", "wrong"),
    "secret of nobody": lambda _: _basic("no", "wrong"),
    "secret of nobody in the form": lambda _: _secret("no", "wrong"),
    "secret of another method": lambda house: _basic("post", house.secrets["post"]),
    "secret of a client with a key": lambda _: _secret("c1", "wrong"),
}
GUIDES = ("guide", "mac", "c1", "off", "no")  # who has the profile is nobody's business either


def _bare(reply: Reply) -> bytes:
    """The whole answer but for its trace_id, whose value stands in the body and in one header."""
    trace = json.loads(reply.body)["trace_id"].encode()
    lines = [b"%d" % reply.status, *(name + b": " + value for name, value in reply.sent_headers), reply.body]
    whole = b"\r\n".join(lines)
    assert whole.count(trace) == 2, whole
    return whole.replace(trace, b"-" * len(trace))


def test_failures_before_proof_have_one_answer(house: House) -> None:
    """Sixteen requests of each of 19 kinds, interleaved: status, headers in their order, and bodies."""
    order = [*CASES] * EACH
    random.Random(SEED).shuffle(order)
    seen, told = set[bytes](), dict[str, str]()
    for name in order:
        reply = house.ask(CASES[name](house))
        told[name] = house.judge(reply)
        assert Reason.from_code(told[name]).value.step in SILENT_STEPS, (name, told[name])
        seen.add(_bare(reply))
    assert len(seen) == 1, seen
    # The operator does see which it was.
    assert len(set(told.values())) >= 6, told
    assert len(told) == len(CASES)
    house.serve_next()


def test_guide_profile_has_one_answer(house: House) -> None:
    """The parameter `assertion` with a bad MAC: the same for whoever has the profile, has not, or is nobody."""
    seen = set[bytes]()
    for name in GUIDES * 20:
        reply = house.ask(_guide(house, name))
        assert house.judge(reply) == Reason.MISPLACED_ASSERTION.code
        seen.add(_bare(reply))
    assert len(seen) == 1, seen
