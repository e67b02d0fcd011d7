"""urn:ietf:params:oauth:grant-type:token-exchange (RFC 8693): exchange a token for one with as many rights or fewer.

An API exchanges a token that it received, to call another API for the same subject; the API becomes the actor. A client
exchanges its own token for a narrower one, for one task; there is no actor then.
"""

from __future__ import annotations

import re

from msgspec.structs import replace

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth import names
from affiant.oauth.federation import delegation
from affiant.oauth.federation.delegation import Actor
from affiant.oauth.parameters import authorization_details
from affiant.oauth.parameters.authorization_details import Details
from affiant.oauth.parameters.form import Form
from affiant.server.request.caller import Caller, Ceiling
from affiant.server.request.notes import Request
from affiant.server.token import requested
from affiant.server.token.exchange import subject as subject_token
from affiant.server.token.exchange import transaction
from affiant.server.token.exchange.subject import SubjectToken, SubjectTokens
from affiant.server.token.exchange.transaction import Transactions
from affiant.server.token.grants.base import Authorization, Subject
from affiant.storage.entries import LONGEST_TOKEN
from affiant.system.values import Value

_TASK = re.compile(r"[\x21-\x7e]{1,128}")
_SECONDS = re.compile(r"[1-9][0-9]{0,5}")
# The type that is issued, by requested_token_type.
ISSUED_TYPES = {None: names.ACCESS_TOKEN_TOKEN_TYPE, names.ACCESS_TOKEN_TOKEN_TYPE: names.ACCESS_TOKEN_TOKEN_TYPE}


class Sent(Value, frozen=True):
    """The parameters of section 2.1, read."""

    HIDDEN = frozenset({"subject_token", "actor_token"})

    subject_token: str
    subject_token_type: str
    actor_token: str | None
    issued_type: str
    task: str | None = None
    seconds: int | None = None


class TokenExchange:
    """The client requests a token with the rights of another token, or fewer."""

    grant_type = names.TOKEN_EXCHANGE

    def __init__(
        self,
        issuer: str,
        subjects: SubjectTokens,
        *,
        depth: int = delegation.DEPTH,
        transactions: Transactions | None = None,
    ) -> None:
        self._issuer = issuer
        self._subjects = subjects
        self._depth = depth  # actors that a token may have
        self._transactions = transactions  # None: no transaction tokens are issued

    async def authorize(self, form: Form, caller: Caller, request: Request) -> Authorization:
        sent = read(form, has_transactions=self._transactions is not None)
        request.notes.task = sent.task
        if sent.issued_type == names.TXN_TOKEN_TYPE and self._transactions is not None:
            return await self._transact(form, sent, self._transactions, caller, request)
        subject = await self._subjects.find(sent.subject_token, sent.subject_token_type, caller, request)
        if sent.actor_token is not None:
            await self._subjects.check_actor(sent.actor_token, caller, request)
        await self._subjects.check_delegable(subject, caller)
        is_own = subject.client_id == caller.client_id and sent.actor_token is None
        act = subject.claims.get("act") if is_own else self._delegate(subject, caller)
        self._check_exchanges(subject)
        request.notes.exchanged = subject.exchanged
        mine = caller.client.authorization_details_types
        return Authorization(
            scope=requested.scope(form),
            resource=_resource(form, subject, is_own=is_own),
            details=_details(form, subject),
            granted=tuple(entry for entry in subject.details if entry.get("type") in mine),
            ceilings=(*subject.ceilings, *_asked(sent)),
            subject=Subject(
                sub=subject.sub,
                act=act,
                sub_profile=subject.claims.get("sub_profile"),
                parents=subject.parents,
                src=subject.source,
                task=sent.task or (subject.claims.get("task") if is_own else None),
            ),
            requested_token_type=sent.issued_type,
            # The caller proves a key of its own: it cannot have the key of the subject.
            must_bind=subject.is_bound,
        )

    async def _transact(
        self, form: Form, sent: Sent, transactions: Transactions, caller: Caller, request: Request
    ) -> Authorization:
        """Authorize a transaction token: for the subject and the scope of the presented token, in one trust domain."""
        domain = transactions.find_domain(form, sent.subject_token_type, caller)
        subject = await self._subjects.find(sent.subject_token, sent.subject_token_type, caller, request)
        await self._subjects.check_delegable(subject, caller)
        self._check_exchanges(subject)
        if subject.is_bound:  # a transaction token is bound to no key
            raise Rejected(Reason.EXCHANGE_UNBOUND)
        request.notes.exchanged = subject.exchanged
        # Without their APIs, which are outside of the trust domain.
        ceilings = (replace(ceiling, resources=None) for ceiling in subject.ceilings)
        return Authorization(
            scope=requested.scope(form),
            resource=(domain,),
            ceilings=(*ceilings, transaction.CEILING),
            subject=Subject(
                sub=subject.sub,
                act=subject.claims.get("act"),
                parents=subject.parents,
                transaction=transaction.begin(form, subject.claims, domain),
            ),
            requested_token_type=sent.issued_type,
        )

    def _check_exchanges(self, subject: SubjectToken) -> None:
        """Raise EXCHANGE_DEPTH for a token that was exchanged too often: each exchange makes `parents` longer."""
        # Each ancestor has a jti; entries of blueprints and workloads have none.
        if sum("jti" in parent for parent in subject.parents) > 2 * self._depth:
            raise Rejected(Reason.EXCHANGE_DEPTH, expected=f"at most {2 * self._depth} exchanges")

    def _delegate(self, subject: SubjectToken, caller: Caller) -> dict[str, object]:
        actor = Actor(self._issuer, caller.client_id, delegation.PROFILES.get(caller.client.kind))
        return delegation.delegate(subject.claims, actor, depth=self._depth)


def read(form: Form, *, has_transactions: bool = False) -> Sent:
    """Return the parameters, or raise Rejected."""
    issued = ISSUED_TYPES | ({names.TXN_TOKEN_TYPE: names.TXN_TOKEN_TYPE} if has_transactions else {})
    token, kind = form.get("subject_token"), form.get("subject_token_type")
    if token is None or kind is None:
        raise Rejected(Reason.MISSING_PARAMETER, expected="subject_token" if token is None else "subject_token_type")
    actor, actor_kind = form.get("actor_token"), form.get("actor_token_type")
    if (actor is None) != (actor_kind is None):
        raise Rejected(Reason.EXCHANGE_PARAMETER, expected="actor_token and actor_token_type together, or neither")
    wanted = form.get("requested_token_type")
    for name, value in (("subject_token_type", kind), ("actor_token_type", actor_kind)):
        known = transaction.SUBJECT_TYPES if wanted == names.TXN_TOKEN_TYPE else subject_token.TYPES
        if value is not None and value not in known:
            raise Rejected(Reason.EXCHANGE_TYPE, expected=f"{name} {' or '.join(known)}")
    if wanted not in issued:
        raise Rejected(Reason.EXCHANGE_TYPE, expected=f"requested_token_type {' or '.join(filter(None, issued))}")
    task, seconds = form.get("task"), form.get("expires_in")
    if task is not None and _TASK.fullmatch(task) is None:
        raise Rejected(Reason.EXCHANGE_PARAMETER, expected="task of 1 to 128 visible ASCII characters without spaces")
    if seconds is not None and _SECONDS.fullmatch(seconds) is None:
        raise Rejected(Reason.EXCHANGE_PARAMETER, expected="expires_in as a whole number of seconds")
    return Sent(token, kind, actor, issued[wanted], task, int(seconds) if seconds else None)


def _resource(form: Form, subject: SubjectToken, *, is_own: bool) -> tuple[str, ...]:
    """Return the APIs that are asked for. A client that exchanges its own token may name fewer, and no others."""
    resource = requested.resource(form)
    if not is_own or not subject.audience:
        return resource
    if not set(resource) <= set(subject.audience):
        raise Rejected(Reason.RESOURCE_NOT_ALLOWED, expected=" or ".join(subject.audience))
    return resource or subject.audience


def _details(form: Form, subject: SubjectToken) -> Details:
    details = requested.details(form)
    if not all(authorization_details.is_among(entry, subject.details) for entry in details):
        raise Rejected(Reason.DETAILS_NOT_ALLOWED, expected="those of the subject token, or fewer")
    return details


def _asked(sent: Sent) -> tuple[Ceiling, ...]:
    if sent.seconds is None:
        return ()
    return (Ceiling("the request", lifetime=min(sent.seconds, LONGEST_TOKEN)),)
