"""The time of a check, next to the signature alone and to PyJWT: thread CPU, in one process, one after the other."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator

import jwt
from bench.guards import roads, tokens
from bench.guards.tokens import API, ISSUER, KEY, SCOPE
from bench.rates import Row
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

BARE, PYJWT, FIRST = "ES256 verified, nothing else", "PyJWT decode", "check, first sight"
REPEATED, IN_TURN, SYNC = "check, repeated", "check, 10,000 callers in turn", "check_sync, repeated"
CALLERS = 10_000
SLOW, QUICK = 200, 4_000  # calls a round: with a signature, and without
Once = Callable[[], object]


def _bare() -> Iterator[Once]:
    signed, _, signature = tokens.sign().rpartition(".")
    key, data = jwt.PyJWK(KEY.public().to_jwk()).key, signed.encode()
    plain = jwt.utils.base64url_decode(signature)
    der = encode_dss_signature(int.from_bytes(plain[:32], "big"), int.from_bytes(plain[32:], "big"))
    algorithm = ec.ECDSA(hashes.SHA256())
    yield lambda: key.verify(der, data, algorithm)


def _pyjwt() -> Iterator[Once]:
    token, key = tokens.sign(), jwt.PyJWK(KEY.public().to_jwk())
    yield lambda: jwt.decode(token, key, algorithms=["ES256"], audience=API, issuer=ISSUER)


class Checks:
    """A warm guard, with tokens that it has not seen, one that it has, and those of many callers."""

    def __init__(self, rounds: int) -> None:
        self.guard = roads.guard()
        self._number = itertools.count()
        self._new = iter([self._header() for _ in range(SLOW * rounds)])
        self._callers = [self._header() for _ in range(CALLERS)]
        self._known = self._callers[0]
        self._turn = itertools.cycle(self._callers)

    def _header(self) -> list[bytes]:
        return [b"Bearer " + tokens.sign(jti=f"token-{next(self._number)}").encode()]

    async def warm_up(self) -> None:
        # The guard keeps no token that came before the keys.
        for header in [self._known, *self._callers]:
            await self.guard.check(header, need=SCOPE)

    async def first(self) -> None:
        for header in itertools.islice(self._new, SLOW):
            await self.guard.check(header, need=SCOPE)

    async def repeated(self) -> None:
        check, header = self.guard.check, self._known
        for _ in range(QUICK):
            await check(header, need=SCOPE)

    async def in_turn(self) -> None:
        check = self.guard.check
        for header in itertools.islice(self._turn, QUICK):
            await check(header, need=SCOPE)

    async def sync(self) -> None:
        check, header = self.guard.check_sync, self._known
        for _ in range(QUICK):
            check(header, need=SCOPE)


async def _measure(rounds: int) -> dict[str, list[float]]:
    checks, bare, decode = Checks(rounds), next(_bare()), next(_pyjwt())
    await checks.warm_up()

    async def repeat(once: Once) -> None:
        for _ in range(SLOW):
            once()

    subjects: dict[str, tuple[Callable[[], Awaitable[None]], int]] = {
        BARE: (lambda: repeat(bare), SLOW),
        FIRST: (checks.first, SLOW),
        PYJWT: (lambda: repeat(decode), SLOW),
        REPEATED: (checks.repeated, QUICK),
        IN_TURN: (checks.in_turn, QUICK),
        SYNC: (checks.sync, QUICK),
    }
    used: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, (run, calls) in subjects.items():
            begun = time.thread_time()
            await run()
            used[name].append((time.thread_time() - begun) / calls * 1e6)
    return used


def measure(rounds: int = 15) -> Iterator[Row]:
    """Yield a row for each subject: the median, and the medians of its ratios within a round."""
    used = asyncio.run(_measure(rounds))

    def ratio(name: str, other: str) -> float:
        return round(statistics.median(a / b for a, b in zip(used[name], used[other], strict=True)), 2)

    for name in used:
        row: Row = {"what": name, "cpu_us": round(statistics.median(used[name]), 2)}
        if name in (FIRST, PYJWT):
            row["times_bare"] = ratio(name, BARE)
        if name in (REPEATED, IN_TURN, SYNC):
            row["times_as_fast"] = ratio(PYJWT, name)
        if name == SYNC:
            row["times_check"] = ratio(SYNC, REPEATED)
        yield row
