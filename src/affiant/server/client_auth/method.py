"""The interface of an authentication method.

Each method is a file in `methods/`; its names are in oauth/names.AUTH_METHODS. Nothing else knows about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, Self

import msgspec

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose.compact import Unverified
from affiant.oauth import assertion, names
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.parameters.form import Form
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.directory import RegisteredClient
from affiant.server.registry.federation.followed import FollowedFeeds
from affiant.server.registry.federation.keys import TrustKeys
from affiant.server.registry.federation.known import Federation
from affiant.server.registry.remote_keys import RemoteKeys
from affiant.server.request.caller import Caller
from affiant.server.request.notes import Notes
from affiant.system.values import Value

# Programs send these texts when the platform gave them no token and they did not check.
NO_TOKENS = ("null", "None", "undefined")


class Sent(msgspec.Struct):
    """The parts of a request that can authenticate a client."""

    form: Form
    headers: Sequence[tuple[bytes, bytes]] = ()
    certificate: Certificate | None = None
    grant: str | None = None  # None at endpoints without grants: to them its parameters mean nothing (RFC 6749 3.2)
    parsed: Unverified | None = None

    def header(self, name: bytes) -> list[bytes]:
        """Return every value of a header; the name in lower case."""
        return [value for key, value in self.headers if key == name]

    def parse(self, text: str) -> Unverified:
        """Take the assertion of the request apart (step 3), once for all methods."""
        if text in NO_TOKENS:
            raise Rejected(Reason.JWT_PARTS, detail=f"{text} in place of a token")
        if self.parsed is None:
            self.parsed = assertion.parse(text)
        return self.parsed

    def find_assertion(self) -> str | None:
        """Return the JWT that authenticates the client (RFC 7523 sections 2.1 and 2.2), or None."""
        form = self.form
        text, kind = form.get("client_assertion"), form.get("client_assertion_type")
        if (text is None) != (kind is None):
            lacks = "client_assertion" if text is None else "client_assertion_type"
            raise Rejected(Reason.HALF_ASSERTION, detail=f"{lacks} is missing")
        if self.grant == names.JWT_BEARER:
            text = form.get("assertion")
            if text is None:
                sent = "client_assertion was sent" if form.get("client_assertion") is not None else ""
                raise Rejected(Reason.MISSING_PARAMETER, expected="assertion", detail=sent)
        elif text is not None and kind not in names.ASSERTION_TYPES:
            raise Rejected(Reason.ASSERTION_TYPE, expected=names.JWT_BEARER_ASSERTION_TYPE)
        return text


class Judging(Value, frozen=True):
    """The inputs of a method that judges one request."""

    now: float
    notes: Notes
    master_key: MasterKey
    remote_keys: RemoteKeys
    trust_keys: TrustKeys
    feeds: FollowedFeeds | None = None  # None: no trust follows one
    proves_key: bool = False  # whether an announced key is enough, because the request only proves it


class Shown(Protocol):
    """The credentials in one request, parsed; nothing is looked up yet."""

    async def identify(self, federation: Federation, judging: Judging) -> Named:
        """Return the credentials with the client that they name; raise Rejected if they name none."""


class Named(Protocol):
    """The credentials in one request, and the client that they name."""

    @property
    def client_id(self) -> str:
        """The client that they name."""

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


class SelfNamed(Value, frozen=True):
    """The base of credentials that name their client themselves."""

    async def identify(self, federation: Federation, judging: Judging) -> Self:  # noqa: ARG002
        return self


class Method(NamedTuple):
    """One way to authenticate, for one or several registered methods."""

    places: Mapping[str, str]  # each name that a client can register, with its place in a request, for the operator
    marks: Callable[[Sent], Sequence[str]]  # names of what a request has of this method: two in one request are refused
    shows: Callable[[Sent], Shown | None]  # raises Rejected for a request that tries this method, but wrongly
    code: Callable[[str, str], str]  # the Python that changes `form` and `headers` to it, by its name and client_id
    algorithms: Mapping[str, Sequence[str]] = {}  # of its JWTs, by its name
    is_last: bool = False  # whether it counts only if no other method shows
