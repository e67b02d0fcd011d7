"""The platforms by name, and a token of one of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from affiant.client.platforms import claims
from affiant.client.platforms.failure import PlatformError
from affiant.client.token import NotPickled
from affiant.errors import LocalError
from affiant.system.text import printable

_HELD_SECONDS = 5.0
_API_GUID = "api://"


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of platform.

    Attributes:
        module: of this package.
        function: in it, which returns a token.
        may_resend: whether a second attempt has a new token, or servers take the same one again by design.
        takes_place: whether the name may be followed by a colon and a path or variable.
    """

    module: str
    function: str = "fetch"
    may_resend: bool = True
    takes_place: bool = False


PLATFORMS = {
    "github": Row("github"),
    "gitlab": Row("files", "gitlab", may_resend=False, takes_place=True),
    "kubernetes": Row("files", "kubernetes", takes_place=True),
    "aws": Row("aws"),
    "google": Row("google"),
    "azure": Row("azure"),
    "buildkite": Row("commands", "buildkite"),
    "circleci": Row("commands", "circleci"),
    "spiffe": Row("spiffe", takes_place=True),
    "file": Row("files", "file", may_resend=False, takes_place=True),
    "env": Row("files", "variable", may_resend=False, takes_place=True),
}


class Platform(NotPickled):
    """Where the tokens of this workload come from: a name of the table, for some with ``:`` and a place."""

    def __init__(self, name: str, audience: str) -> None:
        kind, colon, self._where = name.partition(":")
        self.kind: str = kind
        row = PLATFORMS.get(self.kind)
        if row is None:
            raise LocalError(f"the platform {printable(name, 50)!r} is not known: one of {', '.join(PLATFORMS)}")
        if colon and not (self._where and row.takes_place):
            raise LocalError(f"the platform {printable(name, 200)!r}: {self.kind} takes no such place")
        if not audience or not audience.isprintable():
            raise LocalError("the audience is empty, or has characters that cannot be sent")
        self._row = row
        self.audience: str = audience
        self._lock = threading.Lock()
        self._held: tuple[str, float] | None = None  # a token that was not sent yet

    @property
    def may_resend(self) -> bool:
        return self._row.may_resend

    def fetch(self, now: float) -> str:
        """Return a token that was not sent before, if the platform gives one; or raise PlatformError."""
        with self._lock:
            held, self._held = self._held, None
        if held is not None and time.monotonic() - held[1] < _HELD_SECONDS:
            return held[0]
        return self._get(now)[0]

    def mark(self, now: float) -> str:
        """Return a text that differs for another workload. Attack: jobs of several projects share a cache.

        The token that says so is held for the next `fetch`.
        """
        text, found = self._get(now)
        with self._lock:
            self._held = text, time.monotonic()
        return f"{self.kind} {self.audience} {claims.identity(found)}"

    def _get(self, now: float) -> tuple[str, dict[str, Any]]:
        try:
            return self._ask(now)
        except PlatformError as error:
            why = str(error)
        # Attack: a reporter of errors sends the local variables of every frame, which have the token and the secret
        # that asks for it. This exception has neither those frames nor the first one.
        raise PlatformError(why)

    def _ask(self, now: float) -> tuple[str, dict[str, Any]]:
        module = import_module(f"affiant.client.platforms.{self._row.module}")
        get: Callable[[str, str], str] = getattr(module, self._row.function)
        text = get(self.audience, self._where)
        found = claims.parse(text, who=self.kind)
        claims.check(found, self._expected(found), now, who=self.kind)
        return text, found

    def _expected(self, found: dict[str, Any]) -> str:
        # Entra issues tokens of version 2 for the bare id, where api://ID was asked for.
        bare = self.audience.removeprefix(_API_GUID)
        return bare if self.kind == "azure" and bare in claims.audiences(found) else self.audience
