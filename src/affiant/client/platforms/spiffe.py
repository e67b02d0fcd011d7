"""SPIFFE: a JWT-SVID of the workload API (package spiffe)."""

from __future__ import annotations

import os
import time
from pathlib import Path

from affiant.client.platforms.failure import PlatformError

try:
    from spiffe import WorkloadApiClient
    from spiffe.errors import PySpiffeError
except ImportError:
    raise PlatformError("spiffe: this platform needs the package spiffe:  pip install 'affiant[spiffe]'") from None

SOCKET = "SPIFFE_ENDPOINT_SOCKET"
_SECONDS = 5.0
_START_SECONDS = 10.0  # the agent may come up a little later than the workload


def fetch(audience: str, where: str) -> str:
    """Return the SVID of this workload for this audience, from the agent at a unix: address."""
    address = where or os.environ.get(SOCKET, "")
    if not address.startswith("unix:"):
        raise PlatformError(f"spiffe: name the agent's socket in {SOCKET}, as unix:///PATH (no other kind is taken)")
    _wait_for(Path("/" + address.removeprefix("unix:").lstrip("/")))
    try:
        with WorkloadApiClient(address, default_timeout=_SECONDS) as client:
            # A set: the package takes a str for its letters.
            return client.fetch_jwt_svid(audience={audience}, timeout=_SECONDS).token
    except PySpiffeError as error:
        raise PlatformError(
            f"spiffe: the agent gave no SVID ({type(error).__name__}): is this workload registered?"
        ) from None


def _wait_for(socket: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while not socket.exists():
        if time.monotonic() > end:
            raise PlatformError(f"spiffe: there is no socket {socket}: does the agent run, and is it mounted?")
        time.sleep(0.1)
