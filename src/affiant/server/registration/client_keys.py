"""POST and PUT /client-keys: a client rotates its own keys, without an administrator.

read the form → authenticate the client → parse its action → may it, with this key? → what would its keys be? →
claim the jti → the change and its record in one commit → answer

A client announces its next key with the present one, proves the next one by a signature of its own, and retires the old
one with the next. An announced key can do nothing but prove itself, so a key that does not work shuts no client out.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import msgspec

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose import strict_json
from affiant.jose.key_set import KeySet, LeftOut, describe
from affiant.jose.keys import parse_public_jwk
from affiant.oauth.parameters.form import Form
from affiant.server.client_auth.endpoint import ClientEndpoint
from affiant.server.client_auth.ladder import Authenticator
from affiant.server.registration import descriptions
from affiant.server.registration.metadata import LEFT_OUT
from affiant.server.registry.credentials import actions, completion, keys
from affiant.server.registry.credentials.actions import Action
from affiant.server.request import http
from affiant.server.request.caller import Caller
from affiant.server.request.description import Description
from affiant.server.request.endpoint import Context, required
from affiant.server.request.notes import Request
from affiant.storage.ports import Store
from affiant.storage.records import Client, NotFound

SHOWN_REVOKED = 16  # ended keys that the answer still lists
_CREATED = 201
_SECONDS = re.compile(r"[0-9]{1,11}", re.ASCII)


class Asked(NamedTuple):
    """One request; `action` is None for the list alone."""

    action: Action | None
    status: int = 200
    left_out: tuple[LeftOut, ...] = ()  # members of the JWK Set that are not registered


class ClientKeysEndpoint(ClientEndpoint):
    """Changes a client's keys."""

    name = "client-keys"
    description: ClassVar[Description] = descriptions.CLIENT_KEYS
    methods: ClassVar[tuple[str, ...]] = ("POST", "PUT")
    counts_uses: ClassVar[bool] = False  # a key that only rotates itself is not in use

    def __init__(self, context: Context, authenticator: Authenticator, *, store: Store) -> None:
        super().__init__(context, authenticator)
        self._store = store

    def metadata(self) -> dict[str, Any]:
        return {"client_keys_endpoint": f"{self._issuer}/client-keys"}  # a member of ours

    async def road(self, request: Request) -> http.Answer:
        form, method, notes = await self.read_form(request), request.scope["method"], request.notes
        proves_key = method == "POST" and form.get("action") == "prove"
        caller = await self.authenticate(form, request, proves_key=proves_key)
        # As stored: another worker may have changed the client a moment ago.
        stored = await self._store.clients.find(caller.client_id) or caller.client
        _check_kept(stored)
        asked = parse(method, form, signer=caller.thumbprint or "", now=int(request.now))
        action, is_change = asked.action, False
        if action is not None:
            with _judging():
                _check_allowed(action, stored, caller, request.now)
                is_change = action.step(stored, int(request.now)) != stored or action.leaked is not None
        await self.check_limits(request)
        notes.outcome, notes.detail = ("accepted", action.detail) if action is not None else ("listed", None)
        await self.commit(request)
        if action is not None and is_change:
            stored = await self._change(request, caller, action)
        return await self._answer_with(request, asked, stored)

    async def _change(self, request: Request, caller: Caller, action: Action) -> Client:
        """Change the client as it is stored now: another change may have come in between."""
        record = msgspec.structs.replace(request.record(), by=caller.client_id)
        # From here on the jti is used up: a refusal must not be reported as a replay.
        request.notes.claim = None

        def allow(stored: Client) -> None:
            _check_allowed(action, stored, caller, request.now)

        with _judging():
            return await actions.commit(self._store, caller.client_id, action, record=record, allow=allow)

    async def _answer_with(self, request: Request, asked: Asked, client: Client) -> http.Answer:
        now = int(request.now)
        revoked = [key for key in client.keys if keys.is_revoked(key, now)]
        hidden = {id(key) for key in revoked[:-SHOWN_REVOKED]}
        uses = await self._store.key_uses.list(client.client_id)
        shown = completion.view([key for key in client.keys if id(key) not in hidden], uses, now=now)
        members: dict[str, Any] = {"client_id": client.client_id, "keys": shown}
        if asked.left_out:
            members[LEFT_OUT] = list(map(str, asked.left_out))
        return http.Answer(asked.status, members)


def parse(method: str, form: Form, *, signer: str, now: int) -> Asked:
    """Return what a client asks for; `signer` is the thumbprint of the key that signed the request."""
    if method == "PUT":
        return _put(form)
    match required(form, "action"):
        case "list":
            return Asked(None)
        case "announce":
            return _announce(form, now)
        case "prove":
            return Asked(actions.prove_key(signer))
        case "retire":
            overlap = _seconds(form, "overlap") or 0
            return Asked(actions.retire_key(required(form, "kid"), overlap=overlap, signer=signer))
        case "revoke":
            return Asked(actions.revoke_key(required(form, "kid"), signer=signer))
        case "cancel":
            return Asked(actions.cancel_key(required(form, "kid"), signer=signer))
        case _:
            raise Rejected(Reason.KEYS_ACTION, expected="list, announce, prove, retire, revoke or cancel")


def _put(form: Form) -> Asked:
    with _parsing():
        given = KeySet.parse_given(_object(required(form, "jwks")))
    detail = "; ".join(filter(None, (f"exactly {len(given.keys)} keys", describe(given.left_out))))
    return Asked(actions.put_keys(given.keys, detail=detail), left_out=given.left_out)


def _announce(form: Form, now: int) -> Asked:
    with _parsing():
        key = parse_public_jwk(_object(required(form, "jwk")))
    not_before, expires_at = _seconds(form, "not_before") or 0, _seconds(form, "expires_at")
    if expires_at is not None and expires_at <= max(now, not_before):
        raise Rejected(Reason.KEYS_MALFORMED, expected="an expires_at in the future, and after not_before")
    announced = keys.build(key, now=now, source="client", not_before=not_before, expires_at=expires_at, is_proved=False)
    return Asked(actions.add_key(announced), status=_CREATED)


def _object(text: str) -> dict[str, Any]:
    try:
        return strict_json.parse_object(text.encode())
    except (ValueError, RecursionError):
        # Attack: a message must not repeat the text, which may be a private key.
        raise ConfigError("one strict JSON object") from None


def _seconds(form: Form, name: str) -> int | None:
    text = form.get(name)
    if text is None:
        return None
    if _SECONDS.fullmatch(text) is None:
        raise Rejected(Reason.KEYS_MALFORMED, expected=f"{name} as a number of seconds")
    return int(text)


def _check_kept(stored: Client) -> None:
    try:
        actions.check_kept(stored)
    except ConfigError as error:
        raise Rejected(Reason.KEYS_ELSEWHERE, detail=str(error)) from None


def _check_allowed(action: Action, stored: Client, caller: Caller, now: float) -> None:
    """Let only an active key decide about others, and only keys be added that the client's profile allows."""
    active = {keys.thumbprint(key) for key in stored.keys if keys.state(key, now) == "active"}
    if action.outcome != "proved" and caller.thumbprint not in active:
        raise ConfigError("a signature of a key that is active, not retiring")
    demands = caller.demands
    if action.added and not any(demands.allows_algorithm(alg) for key in action.added for alg in key.algorithms):
        raise ConfigError(f"a key for one of: {', '.join(demands.algorithms or ())}")


@contextlib.contextmanager
def _parsing() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise Rejected(Reason.KEYS_MALFORMED, expected=str(error)) from None


@contextlib.contextmanager
def _judging() -> Iterator[None]:
    """Refuse in the words of the rule."""
    try:
        yield
    except NotFound:
        raise Rejected(Reason.KEYS_UNKNOWN) from None
    except ConfigError as error:
        raise Rejected(Reason.KEYS_CONFLICT, expected=str(error)) from None
