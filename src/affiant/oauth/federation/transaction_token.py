"""Transaction tokens (draft-ietf-oauth-transaction-tokens): one call from outside, on its way through a trust domain.

Such a token is no access token, authenticates no workload, and is sent in the header Txn-Token alone.
"""

from __future__ import annotations

from typing import Any, ClassVar

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose.claims import text
from affiant.jose.strict_json import parse_object
from affiant.oauth.access_token import ClaimRules
from affiant.system.values import Value

HEADER = b"txn-token"
LIFETIME = 300  # seconds, at most: it need not outlive the call
MAX_CONTEXT = 2048  # bytes of request_context and of request_details


class Transaction(Value, frozen=True):
    """The part of a transaction that stays the same in every token of it."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"tctx", "rctx"})

    txn: str
    tctx: dict[str, Any] | None = None  # what the transaction is about
    rctx: dict[str, Any] | None = None  # the circumstances of the request from outside


class TransactionClaims(Value, frozen=True, omit_defaults=True):
    """The claims of a transaction token, as its JSON has them; instants in epoch seconds."""

    iss: str
    aud: str  # the trust domain
    exp: int
    iat: int
    jti: str
    txn: str
    sub: str
    scope: str
    req_wl: str  # the workload that asked for it
    tctx: dict[str, Any] | None = None
    rctx: dict[str, Any] | None = None
    act: dict[str, Any] | None = None
    parents: tuple[dict[str, Any], ...] = ()  # see revocations.lineage


def _check(claims: dict[str, Any]) -> str | None:
    return None if text(claims, "txn") is not None else "txn is missing or not a string"


RULES = ClaimRules(client_id=("req_wl",), check=_check)  # for verifiers


def read_context(name: str, value: str | None) -> dict[str, Any] | None:
    """Return the JSON object in request_context or request_details; raise EXCHANGE_PARAMETER for anything else."""
    if value is None:
        return None
    try:
        if len(value.encode()) > MAX_CONTEXT:
            raise ValueError("too long")
        return parse_object(value.encode())
    except (ValueError, RecursionError):
        wanted = f"{name} as one strict JSON object of at most {MAX_CONTEXT:,} bytes"
        raise Rejected(Reason.EXCHANGE_PARAMETER, expected=wanted) from None
