"""What a client is tried with, and what is right. One experiment is one process of one library at one world."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.clients.world import SLOW_SECONDS, TOKEN_SECONDS, World
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

DRIVERS = Path(__file__).with_name("drivers.py")
CALLERS = 20
LONGEST_ASSERTION = 300  # seconds
_PEM = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)


@dataclass(frozen=True)
class Seen:
    """What one experiment showed."""

    statuses: list[list[Any]]
    seconds: float  # of the last step
    gap: float | None  # the longest time for which an event loop did nothing else; None without a loop
    world: World

    @property
    def requests(self) -> int:
        return len(self.world.forms)


@dataclass(frozen=True)
class Experiment:
    """One column: a plan, what to show in its cell, and whether that is right (None: it does not apply)."""

    name: str
    plan: list[dict[str, Any]]
    show: Callable[[Seen], str]
    is_right: Callable[[Seen], bool | None]
    expires_in: int = 600


def _call(count: int, path: str = "/orders", method: str = "GET") -> dict[str, Any]:
    return {"count": count, "path": path, "method": method}


def _are(seen: Seen, status: int) -> bool:
    return all(each == status for step in seen.statuses for each in step)


def _requests(seen: Seen) -> str:
    return str(seen.requests) if _are(seen, 200) else f"{seen.requests}, {_other(seen)}"


def _other(seen: Seen) -> str:
    return ", ".join(sorted({str(each) for step in seen.statuses for each in step if each != 200}))


def _assertion(seen: Seen) -> str:
    header, claims = seen.world.assertions()[-1] if seen.world.assertions() else ({}, {})
    if not claims:
        return "none"
    life = int(float(claims["exp"]) - float(claims.get("iat", claims["exp"])))
    aud = "issuer" if claims["aud"] == seen.world.issuer else "endpoint"
    return f"{life} s, {aud}" + ("" if "jti" in claims else ", no jti") + ("" if "kid" in header else ", no kid")


def _is_good_assertion(seen: Seen) -> bool | None:
    if not seen.world.assertions():
        return None
    header, claims = seen.world.assertions()[-1]
    life = float(claims["exp"]) - float(claims.get("iat", 0))
    return (
        life <= LONGEST_ASSERTION and claims["aud"] == seen.world.issuer and {"jti"} <= set(claims) and "kid" in header
    )


def _jtis(seen: Seen) -> list[str]:
    return [str(claims.get("jti")) for _, claims in seen.world.assertions()]


def _is_fresh(seen: Seen) -> bool | None:
    found = _jtis(seen)
    return None if not found else len(found) > 1 and len(set(found)) == len(found) and "None" not in found


def _resources(seen: Seen) -> list[str | None]:
    return [form.get("resource") for form in seen.world.forms]


def _posts(seen: Seen) -> int:
    return seen.world.calls.count("POST /moved")


EXPERIMENTS = [
    Experiment("20 callers, cold", [_call(CALLERS)], _requests, lambda seen: seen.requests == 1 and _are(seen, 200)),
    Experiment(
        "20 callers, expired",
        [_call(1), {"sleep": 3.2}, _call(CALLERS)],
        lambda seen: (
            f"1 + {_requests(seen) if seen.requests < 1 else seen.requests - 1}"
            + ("" if _are(seen, 200) else f", {_other(seen)}")
        ),
        lambda seen: seen.requests == 2 and _are(seen, 200),
        expires_in=3,
    ),
    Experiment("5 calls, 60 s token", [_call(1)] * 5, _requests, lambda seen: seen.requests == 1, expires_in=60),
    Experiment("assertion", [_call(1)], _assertion, _is_good_assertion),
    Experiment(
        "3 jti of 3 requests",
        [_call(1), {"sleep": 1.2}, _call(1), {"sleep": 1.2}, _call(1)],
        lambda seen: f"{len(set(_jtis(seen)) - {'None'})} of {len(_jtis(seen))}",
        _is_fresh,
        expires_in=1,
    ),
    Experiment(
        "resource renewed",
        [_call(1), {"sleep": 1.2}, _call(1)],
        lambda seen: ", ".join("yes" if each else "no" for each in _resources(seen)),
        lambda seen: len(_resources(seen)) > 1 and all(_resources(seen)),
        expires_in=1,
    ),
    Experiment(
        "API answers 401 once",
        [_call(1), _call(1, "/revoke"), _call(1)],
        lambda seen: str(seen.statuses[-1][0]),
        lambda seen: seen.statuses[-1] == [200] and seen.requests == 2,
    ),
    Experiment(
        "POST moved to 401",
        [_call(1), _call(1, "/moved", "POST")],
        lambda seen: f"{_posts(seen)} POST, {seen.requests} tokens",
        lambda seen: _posts(seen) == 1 and seen.requests == 1,
    ),
    Experiment(
        "loop blocked",  # by a renewal: the first request loads modules
        [_call(1), {"sleep": 1.2}, _call(1)],
        lambda seen: "-" if seen.gap is None else f"{seen.gap * 1000:.0f} ms",
        lambda seen: None if seen.gap is None else seen.gap < TOKEN_SECONDS / 2,
        expires_in=1,
    ),
    Experiment(
        "10 slow calls",
        [_call(1), _call(10, "/slow")],
        lambda seen: f"{seen.seconds:.1f} s",
        lambda seen: seen.seconds < 5 * SLOW_SECONDS and _are(seen, 200),
    ),
]


def run(world: World, python: str, library: str, experiment: Experiment) -> Seen:
    """Run one experiment; a library that does not even start raises."""
    world.begin(expires_in=experiment.expires_in)
    given = {"issuer": world.issuer, "pem": _PEM, "plan": experiment.plan}
    command = [python, str(DRIVERS), library]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{library}: {done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Seen(found["statuses"], found["seconds"], found["gap"], world)
