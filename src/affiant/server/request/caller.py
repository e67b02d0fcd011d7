"""The client that a request has proved to come from."""

from __future__ import annotations

from typing import Any

from affiant.oauth import names
from affiant.oauth.binding.mtls import Certificate
from affiant.server.registry.directory import RegisteredClient
from affiant.server.registry.profiles import Demands
from affiant.storage.entries import JtiClaim
from affiant.storage.records import Client
from affiant.system.values import Value


class Ceiling(Value, frozen=True):
    """The most that a token may have by one of the layers that allow it; token/policy.py intersects all."""

    layer: str  # in messages, such as `rule github/deploy` or `the subject token`
    scope: tuple[str, ...] | None = None  # None: no limit, and so on
    resources: tuple[str, ...] | None = None
    lifetime: int | None = None  # seconds
    not_after: int | None = None  # epoch seconds; what is issued expires by then
    has_details: bool = True  # whether a token may have authorization_details (RFC 9396), which can exceed any scope


class Caller(Value, frozen=True):
    """An authenticated client."""

    registered: RegisteredClient
    method: str  # token_endpoint_auth_method (RFC 7591 section 2)
    claim: JtiClaim | None = None  # the jti, to be claimed in the commit of this request
    tolerates_repeat: bool = False  # a lost claim is recorded, not refused (guide profile, with its secret sent along)
    alg: str | None = None
    kid: str | None = None
    # Of the key (RFC 7638); the id of a secret; of the certificate (RFC 8705) if the client is registered by its name.
    thumbprint: str | None = None
    label: str | None = None  # the guide's free `sub`, for the audit log only
    observed: tuple[str, ...] = ()  # codes of the rules that it broke and that are only observed for this client
    # Claims of the assertion that matter only if it is also the grant (grants/jwt_bearer.py).
    asked_scope: object = None
    asked_resource: object = None
    certificate: Certificate | None = None  # of the TLS connection, whether or not it authenticated the client
    # These are for a client that the token of a trusted issuer speaks for.
    rule: str | None = None  # the path of the rule that names the client
    ceilings: tuple[Ceiling, ...] = ()
    source: dict[str, Any] | None = None  # copied claims, for `src`
    confirmation: object = None  # the claim cnf of that token, whose key this request must prove
    foreign: tuple[dict[str, Any], ...] = ()  # entries for `parents`: names by which that token's server revokes it

    @property
    def client(self) -> Client:
        return self.registered.record

    @property
    def client_id(self) -> str:
        return self.registered.record.client_id

    @property
    def parents(self) -> tuple[dict[str, Any], ...]:
        """The blueprint of the client and its key, with which the tokens of the client end (see revocations.named)."""
        return (*parents_of(self.client, self.thumbprint), *self.foreign)

    @property
    def sub_profile(self) -> str | None:
        return profile_of(self.client)

    @property
    def credential(self) -> str | None:
        """The name by which uses of the credential are counted."""
        return self.thumbprint if self.rule is None else f"rule {self.rule}"

    @property
    def demands(self) -> Demands:
        return self.registered.demands


def parents_of(client: Client, key: str | None = None) -> tuple[dict[str, Any], ...]:
    """Return the entry of `parents` in each token of a client with a blueprint; `key` is one of the blueprint."""
    if client.blueprint is None:
        return ()
    return ({"client_id": client.blueprint} | ({"client_key": key} if key is not None else {}),)


def profile_of(client: Client) -> str | None:
    """Return the kind of subject that a client is, in its tokens (OAuth Actor Profile); None for a plain service."""
    return names.AI_AGENT if client.kind == names.AGENT else None
