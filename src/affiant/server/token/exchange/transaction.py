"""Exchange a token for a transaction token, or a transaction token for another one of the same transaction."""

from __future__ import annotations

import secrets
from typing import Any

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose.claims import text
from affiant.oauth import names
from affiant.oauth.federation import transaction_token
from affiant.oauth.federation.transaction_token import Transaction
from affiant.oauth.parameters.form import Form
from affiant.server.registry.directory import Directory
from affiant.server.request.caller import Caller, Ceiling
from affiant.server.token import requested

# Attack: an attacker reads a client secret on its way, and then acts within every transaction. These methods send none.
_METHODS = (names.PRIVATE_KEY_JWT, *names.BY_TLS)
SUBJECT_TYPES = (names.ACCESS_TOKEN_TOKEN_TYPE, names.TXN_TOKEN_TYPE)
CEILING = Ceiling("transaction tokens", lifetime=transaction_token.LIFETIME)


class Transactions:
    """Judges requests for transaction tokens."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def find_domain(self, form: Form, kind: str, caller: Caller) -> str:
        """Return the trust domain of a request; raise Rejected if it cannot be for a transaction token."""
        if caller.method not in _METHODS:
            raise Rejected(Reason.EXCHANGE_TRANSACTION, expected=" or ".join(_METHODS), got=caller.method)
        if kind not in SUBJECT_TYPES:
            raise Rejected(Reason.EXCHANGE_TYPE, expected=f"subject_token_type {' or '.join(SUBJECT_TYPES)}")
        if not form.all("audience"):
            raise Rejected(Reason.MISSING_PARAMETER, expected="audience")
        if form.get("scope") is None:
            raise Rejected(Reason.MISSING_PARAMETER, expected="scope")
        named = requested.resource(form)
        domains = [api.identifier for api in self._directory.apis if api.access_token_typ == names.TXN_TOKEN_TYP]
        if len(named) != 1 or named[0] not in domains:
            raise Rejected(Reason.RESOURCE_NOT_ALLOWED, expected=" or ".join(domains) or "a trust domain")
        return named[0]


def begin(form: Form, claims: dict[str, Any], domain: str) -> Transaction:
    """Return the transaction of the new token: that of the presented one, or a new one."""
    before = text(claims, "txn")
    details = transaction_token.read_context("request_details", form.get("request_details"))
    context = transaction_token.read_context("request_context", form.get("request_context"))
    if before is None:
        return Transaction(secrets.token_urlsafe(16), details, context)
    if claims.get("aud") != domain:
        raise Rejected(Reason.RESOURCE_NOT_ALLOWED, expected=str(claims.get("aud")))
    if details is not None or context is not None:
        raise Rejected(Reason.EXCHANGE_PARAMETER, expected="no request_details and no request_context: they are set")
    return Transaction(before, claims.get("tctx"), claims.get("rctx"))
