"""Buildkite and CircleCI: their agents print a new token."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
from typing import IO

from affiant.client.platforms.claims import MAX_BYTES
from affiant.client.platforms.failure import PlatformError
from affiant.system.text import printable

SECONDS = 20.0
_JWT = re.compile(r"[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*")


def buildkite(audience: str, where: str) -> str:  # noqa: ARG001 - every platform has both
    """Return a new token for this audience."""
    return _run("buildkite", "buildkite-agent", "oidc", "request-token", "--audience", audience)


def circleci(audience: str, where: str) -> str:  # noqa: ARG001 - every platform has both
    """Return a new token for this audience."""
    return _run("circleci", "circleci", "run", "oidc", "get", "--claims", json.dumps({"aud": audience}))


def _run(who: str, *words: str) -> str:
    command = " ".join(words[:3])
    try:
        process = subprocess.Popen(  # noqa: S603 - the platform's own program
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that nothing it starts outlives it, and keeps the pipes open
        )
    except OSError as error:
        raise PlatformError(f"{who}: {words[0]} cannot be run ({error.strerror}): is this its job?") from None
    with process:
        out, err, is_late = _read(process)
    if is_late:
        raise PlatformError(f"{who}: {command} took more than {SECONDS:.0f} s")
    if process.returncode != 0 and len(out) <= MAX_BYTES:
        # Attack: a program that prints its token with an error.
        said = _JWT.sub("(token)", err.decode("utf-8", "replace").strip())
        raise PlatformError(f"{who}: {command} ended with {process.returncode}: {printable(said, 500)}")
    if len(out) > MAX_BYTES:
        raise PlatformError(f"{who}: {command} printed more than {MAX_BYTES} bytes")
    return out.decode("ascii", "replace").strip()


def _read(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes, bool]:
    """Return what it wrote, within the limits of size and time, and whether it was too slow."""
    found: dict[str, bytes] = {"out": b"", "err": b""}

    def take(name: str, pipe: IO[bytes] | None) -> None:
        if pipe is not None:
            found[name] = pipe.read(MAX_BYTES + 1)
        if len(found[name]) > MAX_BYTES:
            _end(process)

    pipes = {"out": process.stdout, "err": process.stderr}
    threads = [threading.Thread(target=take, args=item, daemon=True) for item in pipes.items()]
    for thread in threads:
        thread.start()
    try:
        process.wait(SECONDS)
        is_late = False
    except subprocess.TimeoutExpired:
        is_late = True
    _end(process)
    for thread in threads:
        thread.join(1)
    return found["out"], found["err"], is_late


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):  # it ended by itself
        os.killpg(process.pid, signal.SIGKILL)
