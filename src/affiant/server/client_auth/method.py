"""The interface of an authentication method.

Each method is a file in `methods/`; its names are in oauth/names.AUTH_METHODS. Nothing else knows about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from affiant.errors import Rejected
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.parameters.form import Form
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.directory import RegisteredClient
from affiant.server.registry.remote_keys import RemoteKeys
from affiant.server.request.caller import Caller
from affiant.server.request.notes import Notes
from affiant.system.values import Value


class Sent(Value, frozen=True):
    """The parts of a request that can authenticate a client."""

    form: Form
    headers: Sequence[tuple[bytes, bytes]] = ()
    certificate: Certificate | None = None
    grant: str | None = None  # None at endpoints without grants: to them its parameters mean nothing (RFC 6749 3.2)

    def header(self, name: bytes) -> list[bytes]:
        """Return every value of a header; the name in lower case."""
        return [value for key, value in self.headers if key == name]


class Judging(Value, frozen=True):
    """The inputs of a method that judges one request."""

    now: float
    notes: Notes
    master_key: MasterKey
    remote_keys: RemoteKeys
    proves_key: bool = False  # whether an announced key is enough, because the request only proves it


class Shown(Protocol):
    """The credentials in one request, read as far as that is possible without the client."""

    @property
    def client_id(self) -> str:
        """The client that it names."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The registered methods that it may be."""

    @property
    def name(self) -> str:
        """The method that it looks like, for the operator."""

    @property
    def profile(self) -> str | None:
        """The profile that the client needs, if this method is part of one."""

    async def judge(self, client: RegisteredClient, judging: Judging) -> Caller:
        """Return the proof that the client sent this, or raise Rejected.

        Attack: an unknown client must take as long as a known one. It comes here as STRANGER (stranger.py), for which
        the same work is done, and whose proof always fails.
        """

    def refused(self, refusal: Rejected) -> Rejected:
        """Return the refusal that is due for this one, until something is proved."""


class Method(NamedTuple):
    """One way to authenticate, for one or several registered methods."""

    places: Mapping[str, str]  # each name that a client can register, with its place in a request, for the operator
    marks: Callable[[Sent], Sequence[str]]  # names of what a request has of this method: two in one request are refused
    shows: Callable[[Sent], Shown | None]  # raises Rejected for a request that tries this method, but wrongly
    code: Callable[[str, str], str]  # the Python that changes `form` and `headers` to it, by its name and client_id
    algorithms: Mapping[str, Sequence[str]] = {}  # of its JWTs, by its name
    is_last: bool = False  # whether it counts only if no other method shows
