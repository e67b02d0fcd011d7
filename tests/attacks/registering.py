"""Requests to register a client, for the attacks on that."""

from __future__ import annotations

import json
from itertools import count
from math import gcd, prod
from typing import Any

from tests.attacks.bench import KEY, NOW, Bench, Request

from affiant.server.registration import initial_tokens

JSON_TYPE = (b"content-type", b"application/json")
PUBLIC = KEY.public().to_jwk()


def roca_modulus(bits: int = 2048) -> int:
    """A modulus with the mark of CVE-2017-15361: a power of 65537 modulo the product of the first 126 primes.

    It is of no two primes, and has no small factor either, so the mark is all that is wrong with it.
    """
    primes = [number for number in range(2, 752) if all(number % divisor for divisor in range(2, number))]
    marked = prod(primes[:126])
    marks = ((1 << bits - 1) // marked * marked + marked * k + pow(65537, 1_234_567, marked) for k in count(1))
    return next(n for n in marks if n.bit_length() == bits and gcd(n, prod(primes)) == 1)


def body(**changes: Any) -> dict[str, Any]:
    members = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [PUBLIC]}, "scope": "r", **changes}
    return {name: value for name, value in members.items() if value != "absent"}


def bearer(token: str) -> tuple[bytes, bytes]:
    return b"authorization", f"Bearer {token}".encode()


def register(token: str | None, sent: Any = None, *headers: tuple[bytes, bytes], path: str = "/register") -> Request:
    data = sent if isinstance(sent, bytes) else json.dumps(body() if sent is None else sent).encode()
    shown = [bearer(token)] if token is not None else []
    return Request(data, path=path, headers=(*(headers or (JSON_TYPE,)), *shown))


async def invite(bench: Bench, **options: Any) -> str:
    options = {"scope": ("r",), "resources": (), "lifetime_seconds": 60, "uses": 1, **options}
    _, text = await initial_tokens.issue(bench.store, bench.master_key, now=NOW, **options)
    return text
