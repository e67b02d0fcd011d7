"""The owner of a token in a store: a client, its keys, and the request that it makes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass

from affiant.client.cache.sharing import Sharing
from affiant.client.cache.stores.store import TokenStore
from affiant.client.protocol.assertions import Shape
from affiant.client.protocol.auth import ClientAuth, OverTls
from affiant.client.protocol.connection import Connection
from affiant.client.protocol.presented import Presented
from affiant.client.protocol.prover import Prover
from affiant.client.token import TokenKey
from affiant.errors import LocalError

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Owner:
    """A client as its store knows it."""

    issuer: str
    client_id: str
    auth: Callable[[], ClientAuth]  # as it is now: keys are rotated
    shape: Shape
    connection: Connection
    prover: Prover | None
    has_new_key: bool  # the tokens are bound to a key that no other process has
    token_endpoint: str | None
    reach: str
    clock: Callable[[], float]

    def names(self, key: TokenKey) -> tuple[str, ...]:
        """Return everything that makes the token of one client, key or request another token."""
        auth = self.auth()
        return (
            "service",
            self.issuer,
            self.client_id,
            type(auth).__name__,
            _mark(auth, self.clock()),
            "" if self.prover is None else self.prover.thumbprint,
            self.connection.thumbprint(),
            self.shape.profile.grant,
            self.shape.subject or "",
            json.dumps(self._claims(), sort_keys=True),
            self.token_endpoint or "",
            self.reach,
            *(part or "" for part in key),
        )

    def check(self) -> None:
        """Raise LocalError if no other process could use the tokens, or if another client's could be used."""
        if self.has_new_key:
            raise LocalError("with store=, dpop= must be a key: dpop=True makes one that no other process has")
        if callable(self.shape.claims):
            raise LocalError("with store=, claims= must be a mapping: what a function returns may differ by process")
        if isinstance(self.auth(), OverTls) and not self.connection.has_certificate:
            raise LocalError("with store=, name the certificate with certificate=: its tokens may be bound to it")

    def _claims(self) -> dict[str, object]:
        return {} if self.shape.claims is None or callable(self.shape.claims) else dict(self.shape.claims)


def _mark(auth: ClientAuth, now: float) -> str:
    if isinstance(auth, Presented):  # the token says who the client is
        return auth.mark(now)
    signer = getattr(auth, "signer", None)
    return "" if signer is None else f"{signer.alg} {signer.kid or ''}"


def share(store: TokenStore, owner: Owner, clock: Callable[[], float]) -> Sharing:
    """Return the sharing of a client's tokens, or raise LocalError."""
    lacks = [name for name in ("get", "put", "remove", "lock") if not callable(getattr(store, name, None))]
    if lacks:
        raise LocalError(
            f"store= is a TokenStore, not {type(store).__name__}, which has no {'() and no '.join(lacks)}()"
        )
    owner.check()
    return Sharing(store, owner.names, clock, complain=_complaint(store))


def _complaint(store: TokenStore) -> Callable[[Exception], None]:
    """Return what logs the first failure of a store: its kind alone, since a message may have a password."""
    has_failed = False

    def complain(error: Exception) -> None:
        nonlocal has_failed
        if not has_failed:
            has_failed = True
            what = f"{type(store).__name__} ({type(error).__name__})"
            log.warning("the token store %s failed: tokens are requested without it, and no more is logged", what)

    return complain
