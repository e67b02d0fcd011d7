"""Requests to register a client."""

import json
from itertools import count
from math import gcd, prod
from typing import Any

from tests.attacks.bench import Bench
from tests.wire import JSON_TYPE, Header, Request, headers

from affiant import testing
from affiant.testing import KEY, messages

PUBLIC = KEY.public().to_jwk()


def roca_modulus(bits: int = 2048) -> int:
    """Return a modulus with the mark of CVE-2017-15361: a power of 65537 modulo the product of the first 126 primes.

    It is of no two primes, and has no small factor either, so the mark is all that is wrong with it.
    """
    primes = [number for number in range(2, 752) if all(number % divisor for divisor in range(2, number))]
    marked = prod(primes[:126])
    marks = ((1 << bits - 1) // marked * marked + marked * k + pow(65537, 1_234_567, marked) for k in count(1))
    return next(n for n in marks if n.bit_length() == bits and gcd(n, prod(primes)) == 1)


def body(**changes: Any) -> dict[str, Any]:
    given = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [PUBLIC]}, "scope": "r"}
    return messages.changed(given, changes)


def bearer(token: str) -> Header:
    return headers(testing.bearer(token))[0]


def register(token: str | None, sent: Any = None, *given: Header, path: str = "/register") -> Request:
    data = sent if isinstance(sent, bytes) else json.dumps(body() if sent is None else sent).encode()
    shown = [bearer(token)] if token is not None else []
    return Request(data, path=path, headers=(*(given or (JSON_TYPE,)), *shown))


async def invite(bench: Bench, **options: Any) -> str:
    return await bench.invite(**{"scope": ("r",), "lifetime": 60, **options})
