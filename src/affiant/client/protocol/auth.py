"""Ways to authenticate a client, as values that add themselves to a request (RFC 6749 section 2.3, RFC 7523)."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote_plus

from affiant.client.protocol.assertions import Form, Shape
from affiant.client.token import NotPickled
from affiant.jose.signer import Signer
from affiant.oauth import names


class ClientAuth(Protocol):
    """Adds the client's authentication to a request."""

    def apply(self, form: Form, headers: dict[str, str], *, client_id: str, issuer: str, now: float) -> None:
        """Add it to the form or the headers; called for every attempt. `issuer` is the audience of assertions."""


@dataclass(frozen=True, slots=True)
class Assertion(NotPickled):
    """private_key_jwt or client_secret_jwt, by the signer's algorithm.

    Attributes:
        signer: a private key or a secret.
        lifetime: of each assertion, in seconds.
    """

    signer: Signer = field(repr=False)
    lifetime: int = 60
    shape: Shape = field(default=Shape(), repr=False)

    def apply(self, form: Form, headers: dict[str, str], *, client_id: str, issuer: str, now: float) -> None:  # noqa: ARG002
        """Add a new assertion: the server would refuse a second one with the same jti as a replay."""
        text = self.build(form, client_id=client_id, audience=issuer, now=now)
        # Optional (RFC 7521 section 4.2), but some servers look the client up by it.
        form += [("client_id", client_id)]
        form += [("client_assertion_type", names.JWT_BEARER_ASSERTION_TYPE), ("client_assertion", text)]

    def build(self, form: Form, *, client_id: str, audience: str, now: float) -> str:
        """Return a new assertion."""
        return self.shape.build(
            self.signer, form, client_id=client_id, audience=audience, now=now, lifetime=self.lifetime
        )


@dataclass(frozen=True, slots=True)
class JwtBearer(NotPickled):
    """An assertion as the grant itself, without another authentication of the client (RFC 7523 section 2.1)."""

    signer: Signer = field(repr=False)
    shape: Shape = field(default=Shape(), repr=False)

    def apply(self, form: Form, headers: dict[str, str], *, client_id: str, issuer: str, now: float) -> None:  # noqa: ARG002
        """Add a new assertion, with the parameters that the server wants in it."""
        form.append(("assertion", self.build(form, client_id=client_id, audience=issuer, now=now)))

    def build(self, form: Form, *, client_id: str, audience: str, now: float) -> str:
        """Return a new assertion."""
        return self.shape.build(self.signer, form, client_id=client_id, audience=audience, now=now)


@dataclass(frozen=True, slots=True)
class SecretBasic(NotPickled):
    """client_secret_basic."""

    secret: str = field(repr=False)

    def apply(self, form: Form, headers: dict[str, str], *, client_id: str, issuer: str, now: float) -> None:  # noqa: ARG002
        """Add the header, with both parts form-encoded (RFC 6749 section 2.3.1)."""
        pair = f"{quote_plus(client_id)}:{quote_plus(self.secret)}"
        headers["authorization"] = f"Basic {b64encode(pair.encode()).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class OverTls(NotPickled):
    """tls_client_auth and self_signed_tls_client_auth: the connection authenticates the client (RFC 8705 section 2)."""

    def apply(self, form: Form, headers: dict[str, str], *, client_id: str, issuer: str, now: float) -> None:  # noqa: ARG002
        """Add the client_id, by which the server finds the client of the certificate."""
        form.append(("client_id", client_id))


@dataclass(frozen=True, slots=True)
class SecretPost(NotPickled):
    """client_secret_post."""

    secret: str = field(repr=False)

    def apply(self, form: Form, headers: dict[str, str], *, client_id: str, issuer: str, now: float) -> None:  # noqa: ARG002
        """Add both to the form."""
        form += [("client_id", client_id), ("client_secret", self.secret)]
