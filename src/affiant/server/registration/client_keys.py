"""POST and PUT /client-keys: a client leads its own keys from one to the next, without an administrator.

read the form → authenticate the client → may it, and with this key? → what becomes of its keys → claim the jti →
the change and its record in one commit → answer

Announce the next key with the present one, prove the next one by a signature of its own, retire the old one with the
next. The key that is announced can do nothing but prove itself, so nobody is shut out by a key that does not work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from affiant.errors import ConfigError, Rejected
from affiant.oauth.parameters.form import Form
from affiant.reasons import Reason
from affiant.server.registration import described, key_actions
from affiant.server.registration.key_actions import LIST, PROVE, Action
from affiant.server.registration.registrar import LEFT_OUT
from affiant.server.registry import client_keys
from affiant.server.registry.credentials import changes, shown
from affiant.server.request import http
from affiant.server.request.described import Described
from affiant.server.request.endpoint import ClientEndpoint
from affiant.server.request.visit import Visit
from affiant.storage.ports import Store
from affiant.storage.records import Client, ClientKey, NotFound

SHOWN_REVOKED = 16  # keys that have ended, of which the answer still tells


class ClientKeysEndpoint(ClientEndpoint):
    """Changes a client's keys."""

    described: ClassVar[Described] = described.CLIENT_KEYS
    methods: ClassVar[tuple[str, ...]] = ("POST", "PUT")
    counts_uses: ClassVar[bool] = False  # a key that only leads its own rotation is not in use

    def __init__(self, *, store: Store, **shared: Any) -> None:
        super().__init__("client-keys", **shared)
        self._store = store

    def metadata(self) -> dict[str, Any]:
        """See Endpoint; this member is ours."""
        return {"client_keys_endpoint": f"{self._issuer}/client-keys"}

    def proves_key(self, form: Form, scope: http.Scope) -> bool:
        return scope["method"] == "POST" and form.get("action") == PROVE

    async def road(self, visit: Visit, scope: http.Scope, receive: http.Receive) -> http.Answer:
        form, client = await self.enter(visit, scope, receive)
        # What stands now: the client may ask another worker than the one that has just changed it.
        record = await self._store.clients.find(client.client.client_id) or client.client.record
        _check_kept(record)
        with _judging():
            action = key_actions.parse(scope["method"], form, signer=client.thumbprint or "", now=int(visit.now))
            _check_signer(action, record, client.thumbprint, visit.now)
            changes.check_fits(record, action.added, demands=client.client.demands)
            after = action.step(record.keys)
        await self.check_limits(visit)
        visit.outcome, visit.note = "listed" if action.name == LIST else "accepted", action.told or None
        await self.commit_with(visit, client)
        # Once more on what stands when it is committed: another change may have come in between.
        is_done = after == record.keys and action.leaked is None
        return await self._answer_with(visit, action, record.keys if is_done else await self._change(visit, action))

    async def _change(self, visit: Visit, action: Action) -> tuple[ClientKey, ...]:
        """Commit it, now that the request is known to be the first of its kind."""
        client = visit.authenticated
        assert client is not None  # noqa: S101 - `enter` has returned
        record = msgspec.structs.replace(visit.record(), by=client.client.client_id, detail=action.told)
        # From here on the jti is used up; who is refused now is not refused for showing it twice.
        visit.authenticated = msgspec.structs.replace(client, claim=None)
        who = client.client.client_id
        with _judging():
            changed = await changes.change_keys(
                self._store, who, action.step, record=record, outcome=action.outcome, leaked=action.leaked
            )
        return changed.keys

    async def _answer_with(self, visit: Visit, action: Action, keys: tuple[ClientKey, ...]) -> http.Answer:
        client, now = visit.authenticated, int(visit.now)
        assert client is not None  # noqa: S101 - `enter` has returned
        revoked = [key for key in keys if client_keys.is_revoked(key, now)]
        hidden = {id(key) for key in revoked[:-SHOWN_REVOKED]}
        uses = await self._store.key_uses.list(client.client.client_id)
        told = shown.keys([key for key in keys if id(key) not in hidden], uses, now=now)
        members: dict[str, Any] = {"client_id": client.client.client_id, "keys": told}
        if action.left_out:
            members[LEFT_OUT] = list(map(str, action.left_out))
        return http.Answer(action.status, members, [(b"x-trace-id", visit.trace_id.encode("ascii"))])


def _check_kept(record: Client) -> None:
    try:
        changes.check_kept(record)
    except ConfigError as error:
        raise Rejected(Reason.KEYS_ELSEWHERE, detail=str(error)) from None


def _check_signer(action: Action, record: Client, signer: str | None, now: float) -> None:
    """What is on its way out, or not proved, must not decide what follows."""
    if action.name in (LIST, PROVE):
        return
    if not any(client_keys.thumbprint(k) == signer and client_keys.state(k, now) == "active" for k in record.keys):
        raise ConfigError("a signature of a key that is active, not retiring")


@contextlib.contextmanager
def _judging() -> Iterator[None]:
    """Tell the client why not, in the words of the rule."""
    try:
        yield
    except NotFound:
        raise Rejected(Reason.KEYS_UNKNOWN) from None
    except ConfigError as error:
        raise Rejected(Reason.KEYS_CONFLICT, expected=str(error)) from None
