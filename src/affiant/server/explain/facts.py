"""The readable parts of a request, and the record of the client that it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from affiant.errors import Rejected
from affiant.jose.compact import Unverified
from affiant.oauth import assertion
from affiant.oauth.parameters import form as oauth_form
from affiant.oauth.parameters.form import Form
from affiant.server.client_auth import ladder
from affiant.server.client_auth.method import Sent
from affiant.server.explain import hints
from affiant.server.explain.captured import Captured
from affiant.server.explain.federation.presented import Presented
from affiant.server.explain.granted import Granted
from affiant.server.explain.hints import Hint
from affiant.server.registry.directory import RegisteredClient
from affiant.storage.records import Api

_ASSERTIONS = ("client_assertion", "assertion")


@dataclass(slots=True)
class Facts:
    """The readable parts of a request. Nothing here is proved."""

    issuer: str  # of the server that judges
    now: float
    form: Form | None = None
    user: str | None = None  # the client in an Authorization header by Basic
    text: str = field(default="", repr=False)  # the assertion as it was sent
    unverified: Unverified | None = None  # the same, if it can be parsed
    client: RegisteredClient | None = None  # the registered client that it names
    near: tuple[str, ...] = ()  # registered names that are similar to the one it names
    claimed: bool | None = None  # whether its jti was used before; None if that is not known
    kept: bool | None = None  # whether exactly this assertion was used before, not another with its jti
    earlier: dict[str, Any] | None = None  # the audit record of that use, if it was found
    judged_to: int = 0  # the last step that was judged after the first that failed
    hint: Hint | None = None  # the known mistake that explains a wrong signature
    policies: dict[str, str] = field(default_factory=dict)  # by broken rule, the one that accepts the assertion
    apis: Sequence[Api] = ()  # all of the server
    scope: str = ""
    resources: tuple[str, ...] = ()
    grant: str = ""
    presented: Presented | None = None  # the token of a platform in place of a client's own assertion
    granted: Granted | None = None  # what the request would get
    token_lifetime: int = 0  # of an access token of this client, in seconds

    @property
    def claims(self) -> dict[str, Any]:
        return self.unverified.claims if self.unverified else {}

    @property
    def header(self) -> dict[str, Any]:
        return self.unverified.header if self.unverified else {}

    @property
    def names(self) -> list[str]:
        """Every client_id that the request names, the most likely first."""
        sent = self.form.get("client_id") if self.form else None
        if self.presented is not None and not self.presented.as_subject:
            return [name for name in (self.presented.client_id, sent) if name]
        given = [self.claims.get("iss"), self.claims.get("sub"), self.user, sent]
        return list(dict.fromkeys(name for name in given if isinstance(name, str) and name))


def of_record(record: dict[str, Any], *, issuer: str) -> Facts:
    """Return the facts in the audit record of a request; the request itself is not stored."""
    facts = Facts(issuer, float(record["at"]))
    facts.scope, facts.grant = str(record.get("scope") or ""), str(record.get("grant") or "")
    facts.resources = tuple(str(record.get("resource") or "").split())
    facts.hint = hints.parse(record.get("hint"))
    return facts


def read(captured: Captured, *, issuer: str, now: float) -> Facts:
    """Return what this request says, as far as it can be read."""
    facts = Facts(issuer, now)
    try:
        facts.form = oauth_form.parse(captured.body)
        facts.scope, facts.grant = facts.form.get("scope") or "", facts.form.get("grant_type") or ""
        facts.resources = tuple(facts.form.all("resource") or facts.form.all("audience"))
        facts.user = _user(captured)
        facts.text = next((text for name in _ASSERTIONS if (text := facts.form.get(name))), "")
        facts.unverified = assertion.parse(facts.text) if facts.text else None
    except Rejected:
        return facts
    return facts


def _user(captured: Captured) -> str | None:
    """Return the client that the Authorization header names."""
    try:
        shown = ladder.find(Sent(oauth_form.parse(b""), captured.scope()["headers"]))
    except Rejected:
        return None
    found: str | None = getattr(shown, "client_id", None)
    return found
