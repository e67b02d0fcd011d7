"""What a client asks for at /client-keys, as values: read from its form, judged and done elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from affiant.errors import ConfigError, Rejected
from affiant.jose import strict_json
from affiant.jose.key_set import KeySet, LeftOut, describe
from affiant.jose.keys import PublicKey, parse_public_jwk
from affiant.oauth.parameters.form import Form
from affiant.reasons import Reason
from affiant.server.registry import client_keys
from affiant.server.registry.credentials import rotation
from affiant.server.request.endpoint import required
from affiant.storage.records import Client, ClientKey

Keys = tuple[ClientKey, ...]

LIST, ANNOUNCE, PROVE, RETIRE, REVOKE, CANCEL = "list", "announce", "prove", "retire", "revoke", "cancel"
PUT = "put"
_CREATED = 201
_SECONDS = re.compile(r"[0-9]{1,11}", re.ASCII)


class Action(NamedTuple):
    """One change to a client's keys.

    Attributes:
        name: what it is called.
        step: makes the keys that stand then of those that stand now.
        outcome: what the audit log calls it once it is done.
        told: what is written down with it.
        added: the keys that it brings.
        leaked: finds the thumbprint of the key whose tokens end with it, among the keys as they are in the commit.
        status: of the answer.
        left_out: members of a JWK Set that are not registered.
    """

    name: str
    step: Callable[[Keys], Keys]
    outcome: str = ""
    told: str = ""
    added: tuple[PublicKey, ...] = ()
    leaked: Callable[[Client], str] | None = None
    status: int = 200
    left_out: tuple[LeftOut, ...] = ()


def parse(method: str, form: Form, *, signer: str, now: int) -> Action:
    """What a client asks for."""
    if method == "PUT":
        return _put(form, now)
    action = required(form, "action")
    if action == LIST:
        return Action(LIST, lambda standing: standing)
    if action == ANNOUNCE:
        return _announce(form, now)
    if action == PROVE:
        step = partial(rotation.prove, thumbprint=signer, now=now)
        return Action(PROVE, step, "proved", "prove the key that signs")
    if action not in (RETIRE, REVOKE, CANCEL):
        raise Rejected(Reason.KEYS_ACTION, expected=f"{LIST}, {ANNOUNCE}, {PROVE}, {RETIRE}, {REVOKE} or {CANCEL}")
    return _end(action, form, signer, now)


def _put(form: Form, now: int) -> Action:
    try:
        given = KeySet.parse_given(_object(required(form, "jwks")))
    except ConfigError as error:
        raise Rejected(Reason.KEYS_MALFORMED, expected=str(error)) from None
    step = partial(rotation.host, wanted=given.keys, now=now)
    told = "; ".join(filter(None, (f"exactly {len(given.keys)} keys", describe(given.left_out))))
    return Action(PUT, step, "put", told, added=given.keys, left_out=given.left_out)


def _announce(form: Form, now: int) -> Action:
    try:
        key = parse_public_jwk(_object(required(form, "jwk")))
    except ConfigError as error:
        raise Rejected(Reason.KEYS_MALFORMED, expected=str(error)) from None
    not_before, expires_at = _seconds(form, "not_before"), _seconds(form, "expires_at")
    if expires_at is not None and expires_at <= max(now, not_before or 0):
        raise Rejected(Reason.KEYS_MALFORMED, expected="an expires_at in the future, and after not_before")
    announced = client_keys.build(
        key, now=now, source="client", not_before=not_before or 0, expires_at=expires_at, is_proved=False
    )
    step = partial(rotation.announce, announced=announced, now=now)
    return Action(ANNOUNCE, step, "announced", f"announce {key.kid}", added=(key,), status=_CREATED)


def _end(action: str, form: Form, signer: str, now: int) -> Action:
    kid = required(form, "kid")
    told = f"{action} {kid}"
    if action == CANCEL:
        return Action(CANCEL, partial(rotation.cancel, kid=kid, now=now), "cancelled", told)
    if action == RETIRE:
        overlap = _seconds(form, "overlap") or 0
        step = partial(rotation.retire, kid=kid, now=now, overlap=overlap, signer=signer)
        return Action(RETIRE, step, "retired", told)
    step = partial(rotation.revoke, kid=kid, now=now, signer=signer)

    def leaked(before: Client) -> str:
        return client_keys.thumbprint(client_keys.get(before.keys, kid, now))

    return Action(REVOKE, step, "revoked", told, leaked=leaked)


def _object(text: str) -> dict[str, Any]:
    try:
        return strict_json.parse_object(text.encode())
    except (ValueError, RecursionError):
        # Not a word of what came: it may be a private key.
        raise ConfigError("one strict JSON object") from None


def _seconds(form: Form, name: str) -> int | None:
    text = form.get(name)
    if text is None:
        return None
    if _SECONDS.fullmatch(text) is None:
        raise Rejected(Reason.KEYS_MALFORMED, expected=f"{name} as a number of seconds")
    return int(text)
