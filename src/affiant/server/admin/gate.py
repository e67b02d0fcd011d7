"""The one door of the admin API: nobody gets to any route, known or not, without having proved who they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.types import ASGIApp

from affiant.errors import Rejected
from affiant.jose import compact
from affiant.jose.compact import Verified
from affiant.oauth import access_token, bearer
from affiant.oauth.access_token import AccessToken
from affiant.oauth.binding import dpop
from affiant.reasons import Reason
from affiant.server.admin import roles
from affiant.server.admin.calls import Call, Desk
from affiant.server.admin.problems import HEADERS
from affiant.server.admin.roles import Principal
from affiant.server.request import http
from affiant.server.request.deadline import Deadline
from affiant.server.request.visit import Visit
from affiant.server.token import standing

Recognise = Callable[[http.Scope, float], Awaitable[Principal]]


class Tokens:
    """Recognises who calls by an access token of this same server, for the admin API alone."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        parts = urlsplit(desk.issuer)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._replays = dpop.Replays()

    async def __call__(self, scope: http.Scope, now: float) -> Principal:
        """Who calls."""
        await self._desk.directory.refresh()
        shown = bearer.parse_authorization(http.header(scope, b"authorization"))
        if shown is None:
            raise Rejected(Reason.TOKEN_MISSING)
        verified = self._verify(shown.token)
        token = self._judge(verified, shown, scope, now)
        # A token for two APIs would let the other one act here in its client's name.
        if token.claims.get("aud") != self._desk.identifier:
            raise Rejected(Reason.TOKEN_AUDIENCE, expected=self._desk.identifier)
        await self._check_standing(shown.token, now)
        return await self._principal(token)

    def _verify(self, text: str) -> Verified:
        try:
            unverified = compact.parse(text)
        except Rejected as refusal:
            raise Rejected(Reason.TOKEN_MALFORMED, detail=refusal.reason.code) from None
        key = self._desk.directory.published_keys().find(unverified.kid) if unverified.kid is not None else None
        if key is None:
            raise Rejected(Reason.TOKEN_KEY)
        try:
            return compact.verify(unverified, key)
        except Rejected:
            raise Rejected(Reason.TOKEN_SIGNATURE) from None

    def _judge(self, verified: Verified, shown: bearer.Shown, scope: http.Scope, now: float) -> AccessToken:
        here: dict[str, Any] = {"issuer": self._desk.issuer, "audience": self._desk.identifier, "now": now, "leeway": 0}
        here["certificate"] = self._desk.certificates.find(scope)
        if shown.scheme == bearer.BEARER:
            return access_token.verify(verified, **here)
        bound = access_token.verify_bound(verified, **here)
        proofs = http.header(scope, b"dpop")
        if not proofs:
            raise Rejected(Reason.TOKEN_BINDING, detail="no DPoP header")
        url = self._origin + _path(scope)
        proof = dpop.verify(
            proofs, method=scope["method"], urls=(url,), now=now, access_token=shown.token, nonces=self._desk.nonces
        )
        token = access_token.release(bound, proof)
        self._replays.claim(proof, now)
        return token

    async def _check_standing(self, text: str, now: float) -> None:
        found = standing.find(text, self._desk.directory, issuer=self._desk.issuer, now=now)
        if found is None or await standing.is_revoked(found, self._desk.store.revocations):
            raise Rejected(Reason.TOKEN_REVOKED)

    async def _principal(self, token: AccessToken) -> Principal:
        client = await self._desk.directory.client(token.client_id)
        if client is None or not client.record.enabled or self._desk.directory.api(self._desk.identifier) is None:
            raise Rejected(Reason.TOKEN_REVOKED)
        # What was taken from a client since is gone at once, whatever its token still says.
        registered = roles.role_of(client.record, self._desk.identifier)
        granted = roles.highest(token.scopes & set(client.record.scope))
        if registered is None or granted is None:
            raise Rejected(Reason.SCOPE_INSUFFICIENT, expected=roles.Role.VIEWER.scope)
        return Principal(token.client_id, granted)


class Gate:
    """Stands before the routes: who calls, what they send, and what every answer has."""

    def __init__(
        self, inner: ASGIApp, *, desk: Desk, recognise: Recognise, clock: Callable[[], float], prefix: str
    ) -> None:
        self._inner = inner
        self._desk = desk
        self._recognise = recognise
        self._clock = clock
        self.prefix = prefix
        self._deadline = Deadline()

    async def __call__(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        """Answer one request."""
        address = scope["client"][0] if scope.get("client") else ""
        call = Call(self._desk, Visit("admin", address, self._clock()))
        try:
            with self._deadline:
                call.admit(await self._recognise(scope, call.visit.now))
                body = await http.read_body(receive)
        except TimeoutError:
            answer = await call.refuse(Rejected(Reason.TOO_SLOW))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered, and nothing is done
            answer = await call.refuse(error)
        else:
            inner = {**scope, "state": {**scope.get("state", {}), "call": call}, "root_path": self.prefix}
            # Routes are chosen by the path as it was sent: a client named a/keys is not the keys of a client named a.
            inner["path"] = _path(scope)
            await self._inner(inner, _replay(body, receive), _send_with(send, call))
            return
        await answer(scope, receive, send)


def _path(scope: http.Scope) -> str:
    """As it came, where the server tells it: what is decoded cannot be spelt again with certainty."""
    raw: bytes | None = scope.get("raw_path")
    return raw.decode("latin-1") if raw else quote(scope["path"], safe="/%:@!$&'()*+,;=~-._")


def _replay(body: bytes, receive: http.Receive) -> http.Receive:
    """The body that was read already, and then what the connection says."""
    pending = [body]

    async def again() -> Any:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return again


def _send_with(send: http.Send, call: Call) -> http.Send:
    """Every answer says that nobody may keep it, and which request it was."""
    always = {**{name.lower(): value for name, value in HEADERS.items()}, "x-trace-id": call.visit.trace_id}

    async def send_all(message: Any) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message["headers"] if name.decode("latin-1").lower() not in always]
            message = {**message, "headers": kept + [(n.encode(), v.encode()) for n, v in always.items()]}
        await send(message)

    return send_all
