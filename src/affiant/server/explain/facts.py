"""What a request says, read as far as it can be read, and what is known of the client that it names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from affiant.errors import Rejected
from affiant.oauth import assertion
from affiant.oauth.parameters import form as oauth_form

if TYPE_CHECKING:
    from affiant.jose.compact import Unverified
    from affiant.oauth.parameters.form import Form
    from affiant.server.explain.captured import Captured
    from affiant.server.registry.directory import RegisteredClient

_ASSERTIONS = ("client_assertion", "assertion")


@dataclass(slots=True)
class Facts:
    """What is known, for lines and fixes; nothing here is proved.

    Attributes:
        issuer: of the server that judges.
        now: seconds since the epoch.
        form: the parameters, where they can be read.
        text: the assertion as it was sent.
        unverified: the assertion taken apart, where it can be.
        client: the client that it names, where one is registered and this server may say so.
        near: names of registered clients that look like the one that is named.
        claimed: whether its jti was used before; None where that is not known.
    """

    issuer: str
    now: float
    form: Form | None = None
    text: str = field(default="", repr=False)
    unverified: Unverified | None = None
    client: RegisteredClient | None = None
    near: tuple[str, ...] = ()
    claimed: bool | None = None

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
        given = [self.claims.get("iss"), self.claims.get("sub"), self.form.get("client_id") if self.form else None]
        return list(dict.fromkeys(name for name in given if isinstance(name, str) and name))


def read(captured: Captured, *, issuer: str, now: float) -> Facts:
    """What this request says."""
    facts = Facts(issuer, now)
    try:
        facts.form = oauth_form.parse(captured.body)
        facts.text = next((text for name in _ASSERTIONS if (text := facts.form.get(name))), "")
        facts.unverified = assertion.parse(facts.text) if facts.text else None
    except Rejected:
        return facts
    return facts
