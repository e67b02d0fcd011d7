"""The guard of a workload inside a trust domain, for transaction tokens (draft-ietf-oauth-transaction-tokens)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from msgspec import structs

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.claims import LEEWAY
from affiant.oauth import names
from affiant.oauth.federation import transaction_token
from affiant.oauth.parameters.need import Need, Needed
from affiant.resource import options
from affiant.resource.caller import Actor, Caller
from affiant.resource.diagnosis.diagnosed import Diagnosed
from affiant.resource.issuer import trust
from affiant.resource.issuer.remote import Http
from affiant.resource.issuer.trust import Issuer
from affiant.system.values import Value


class TransactionToken(Value, frozen=True):
    """A transaction token that is valid here and now.

    Attributes:
        txn: the transaction, the same in each token of it.
        sub: the subject of the request from outside.
        scopes: what the transaction may do.
        workload: the workload that asked for the token (claim ``req_wl``).
        context: what the transaction is about (claim ``tctx``); empty where the token does not say.
        request: the circumstances of the request from outside (claim ``rctx``); the same.
        chain: the parties that act for `sub`, the present one first.
        claims: all claims of the token.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"claims", "context", "request"})

    txn: str
    sub: str
    scopes: frozenset[str]
    workload: str
    context: dict[str, Any]
    request: dict[str, Any]
    chain: tuple[Actor, ...]
    claims: dict[str, Any]


class TxnGuard:
    """Checks the transaction token of each request inside one trust domain.

    A transaction token says for whom, and for what, a request goes on inside. It does not authenticate the workload
    that sends it: that is the task of mutual TLS, or of an access token, which another guard checks.

    Args:
        issuer: the server that issues them, exactly as its metadata spell it.
        trust_domain: the `aud` of the tokens.
        algorithms: of their signatures; asymmetric ones only.
        revocations: as in `Guard`.
        http: as in `Guard`.
        clock: seconds since the epoch.
        leeway: seconds by which the clocks may differ.

    Raises:
        ConfigError: one of them is impossible.
    """

    def __init__(
        self,
        issuer: str,
        *,
        trust_domain: str,
        algorithms: Sequence[str] = ASYMMETRIC,
        revocations: str | None = None,
        http: Http | None = None,
        clock: Callable[[], float] = time.time,
        leeway: int = LEEWAY,
    ) -> None:
        one = Issuer(issuer, algorithms=algorithms, revocations=revocations)
        (domain,) = options.check_audiences(trust_domain)
        rules = options.rules([issuer], domain, leeway, "optional", ASYMMETRIC, None)
        trusted = trust.trust(one, (domain,), http=http, clock=clock)
        # A guard of access tokens never takes this typ.
        types = frozenset({names.TXN_TOKEN_TYP})
        accepted = structs.replace(trusted.accepted, types=types, rules=transaction_token.RULES)
        self._guard = Diagnosed(
            rules,
            [replace(trusted, accepted=accepted)],
            url=None,
            proxies=options.proxies((), "rfc9440"),
            challenges=options.challenges(rules, None, None, is_development=False),
            clock=clock,
        )

    async def check(self, headers: Iterable[tuple[bytes, bytes]], need: Needed | Need = ()) -> TransactionToken:
        """Return the transaction token of a request.

        Args:
            headers: those of the request: names in any case, with their values.
            need: the scopes that it must have, as in `Guard.check`.

        Raises:
            Rejected: there is not exactly one in Txn-Token, or it is not valid.
            RemoteError: the issuer does not answer.
        """
        return _token(await self._guard.check([_one(headers)], need=need))

    def check_sync(self, headers: Iterable[tuple[bytes, bytes]], need: Needed | Need = ()) -> TransactionToken:
        """Return the transaction token of a request, as `check` does, in a thread without an event loop."""
        return _token(self._guard.check_sync([_one(headers)], need=need))


def _one(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    values = [value for name, value in headers if name.lower() == transaction_token.HEADER]
    # Attack: the guard checks one of two tokens, and the service uses the other. A list in one header does the same.
    if len(values) != 1 or b"," in values[0] or b" " in values[0].strip():
        reason = Reason.TOKEN_REQUEST if values else Reason.TOKEN_MISSING
        raise Rejected(reason, detail=f"{len(values)} values of the header Txn-Token")
    return b"Bearer " + values[0].strip()


def _token(caller: Caller) -> TransactionToken:
    claims = caller.claims
    return TransactionToken(
        txn=str(claims["txn"]),
        sub=caller.sub,
        scopes=caller.scopes,
        workload=caller.client_id,
        context=_object(claims.get("tctx")),
        request=_object(claims.get("rctx")),
        chain=caller.chain,
        claims=claims,
    )


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
