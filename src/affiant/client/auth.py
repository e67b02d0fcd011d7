"""Ways to authenticate, as values: each writes itself into a request (RFC 6749 section 2.3, RFC 7523 section 2.2)."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote_plus

from affiant.client.token import NotPickled
from affiant.jose.signer import Signer
from affiant.oauth import assertion, names

Form = list[tuple[str, str]]


class ClientAuth(Protocol):
    """Writes the client's proof into a request."""

    def apply(self, form: Form, headers: dict[str, str], *, client_id: str, issuer: str, now: float) -> None:
        """Add to the form or the headers; called anew for every attempt."""


@dataclass(frozen=True, slots=True)
class Assertion(NotPickled):
    """private_key_jwt or client_secret_jwt: which of the two, the signer's algorithm decides."""

    signer: Signer = field(repr=False)
    lifetime: int = 60

    def apply(self, form: Form, headers: dict[str, str], *, client_id: str, issuer: str, now: float) -> None:  # noqa: ARG002
        """Add a new assertion: a second attempt with the first one's jti would be a replay."""
        text = assertion.build(client_id, issuer=issuer, signer=self.signer, now=now, lifetime=self.lifetime)
        # Optional (RFC 7521 section 4.2), but some servers look the client up by it.
        form += [("client_id", client_id)]
        form += [("client_assertion_type", names.JWT_BEARER_ASSERTION_TYPE), ("client_assertion", text)]


@dataclass(frozen=True, slots=True)
class SecretBasic(NotPickled):
    """client_secret_basic."""

    secret: str = field(repr=False)

    def apply(self, form: Form, headers: dict[str, str], *, client_id: str, issuer: str, now: float) -> None:  # noqa: ARG002
        """Add the header; both parts are form-encoded first (RFC 6749 section 2.3.1)."""
        pair = f"{quote_plus(client_id)}:{quote_plus(self.secret)}"
        headers["authorization"] = f"Basic {b64encode(pair.encode()).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class OverTls(NotPickled):
    """tls_client_auth and self_signed_tls_client_auth: the connection proves who this is (RFC 8705 section 2)."""

    def apply(self, form: Form, headers: dict[str, str], *, client_id: str, issuer: str, now: float) -> None:  # noqa: ARG002
        """Add the name alone; by it the server knows whose certificate it looks at."""
        form.append(("client_id", client_id))


@dataclass(frozen=True, slots=True)
class SecretPost(NotPickled):
    """client_secret_post."""

    secret: str = field(repr=False)

    def apply(self, form: Form, headers: dict[str, str], *, client_id: str, issuer: str, now: float) -> None:  # noqa: ARG002
        """Add both to the form."""
        form += [("client_id", client_id), ("client_secret", self.secret)]
