"""What a request says, read as far as it can be read, and what is known of the client that it names."""

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
from affiant.server.explain.hints import Hint
from affiant.server.registry.directory import RegisteredClient
from affiant.storage.records import Api

_ASSERTIONS = ("client_assertion", "assertion")


@dataclass(slots=True)
class Facts:
    """What is known, for lines and fixes; nothing here is proved.

    Attributes:
        issuer: of the server that judges.
        now: seconds since the epoch.
        form: the parameters, where they can be read.
        user: the client that an Authorization header names, by Basic.
        text: the assertion as it was sent.
        unverified: the assertion taken apart, where it can be.
        client: the client that it names, where one is registered and this server may say so.
        near: names of registered clients that look like the one that is named.
        claimed: whether its jti was used before; None where that is not known.
        kept: whether it is the very assertion that was used before, and not another with its jti.
        earlier: the audit record of that use, where it was found.
        judged_to: the last rung that was judged after the first that failed; 0 where nothing was.
        hint: the known mistake that explains a signature that does not verify.
        policies: for each broken rule that has one, the client's policy that accepts the assertion.
        apis: every API.
        scope: the scope parameter.
        resources: the values of the resource parameter.
        grant: the grant_type parameter.
        token_lifetime: seconds that an access token of this client lives.
    """

    issuer: str
    now: float
    form: Form | None = None
    user: str | None = None
    text: str = field(default="", repr=False)
    unverified: Unverified | None = None
    client: RegisteredClient | None = None
    near: tuple[str, ...] = ()
    claimed: bool | None = None
    kept: bool | None = None
    earlier: dict[str, Any] | None = None
    judged_to: int = 0
    hint: Hint | None = None
    policies: dict[str, str] = field(default_factory=dict)
    apis: Sequence[Api] = ()
    scope: str = ""
    resources: tuple[str, ...] = ()
    grant: str = ""
    token_lifetime: int = 0

    @property
    def claims(self) -> dict[str, Any]:
        """The claims, or none."""
        return self.unverified.claims if self.unverified else {}

    @property
    def header(self) -> dict[str, Any]:
        """The header, or none."""
        return self.unverified.header if self.unverified else {}

    @property
    def names(self) -> list[str]:
        """Every name that the request gives its client, the likeliest first."""
        sent = self.form.get("client_id") if self.form else None
        given = [self.claims.get("iss"), self.claims.get("sub"), self.user, sent]
        return list(dict.fromkeys(name for name in given if isinstance(name, str) and name))


def of_record(record: dict[str, Any], *, issuer: str) -> Facts:
    """The members of a request's audit record; the request itself is not kept."""
    facts = Facts(issuer, float(record["at"]))
    facts.scope, facts.grant = str(record.get("scope") or ""), str(record.get("grant") or "")
    facts.resources = tuple(str(record.get("resource") or "").split())
    facts.hint = hints.parse(record.get("hint"))
    return facts


def read(captured: Captured, *, issuer: str, now: float) -> Facts:
    """What this request says."""
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
        return ladder.find(Sent(oauth_form.parse(b""), captured.scope()["headers"])).client_id
    except Rejected:
        return None
