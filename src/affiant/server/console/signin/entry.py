"""The endpoints of sign-in: a link or a passkey begins a session, sign-out ends it.

Opening a link shows a page and takes nothing: previews and prefetching spend no link. Its token is in the fragment,
which browsers do not send; the page puts it into the form.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import strict_json
from affiant.server.admin.routes.users import rules
from affiant.server.admin.routes.users.documents import view_passkey, view_session
from affiant.server.console.actions.action import see_other
from affiant.server.console.origins import Origins
from affiant.server.console.rendering import Renderer
from affiant.server.console.signin.passkeys import Passkeys, credential_id
from affiant.server.console.signin.sessions import Sessions, Visitor
from affiant.server.console.view import HTML, Form, below
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import kinds
from affiant.server.request import http
from affiant.server.request.http import Answer
from affiant.server.request.notes import Request
from affiant.storage.entries import Entry as AuditEntry
from affiant.storage.ports import Audit, Cloned, Store, TooMany
from affiant.storage.records import AlreadyExists, NotFound, User

_CSRF = b"x-csrf-token"


class Parts(NamedTuple):
    """The parts of the console that sign-in works with; `base` is its path."""

    store: Store
    master_key: MasterKey
    origins: Origins
    sessions: Sessions
    renderer: Renderer
    base: str


class Entry:
    """Answers the requests that begin or end a session, and those that make a passkey."""

    def __init__(self, parts: Parts) -> None:
        self._store, self._key, self._origins, self._sessions, self._renderer, self._base = parts
        self._passkeys = Passkeys(self._key, self._origins)
        self._routes: dict[tuple[str, str], Callable[[Request], Awaitable[Answer]]] = {
            ("GET", "/sign-in"): self._show,
            ("POST", "/sign-in"): self._take_link,
            ("POST", "/sign-in/options"): self._offer_sign_in,
            ("POST", "/sign-in/passkey"): self._take_passkey,
            ("POST", "/passkeys/options"): self._offer_passkey,
            ("POST", "/passkeys"): self._keep_passkey,
            ("POST", "/sign-out"): self._sign_out,
        }

    async def answer(self, request: Request, path: str) -> Answer | None:
        """Answer a request of sign-in; None for every other."""
        method = request.scope["method"]
        found = self._routes.get(("GET" if method == "HEAD" else method, path))
        if found is None:
            return None
        if method == "POST":
            self._origins.check(request.scope)
        return await found(request)

    async def _show(self, request: Request) -> Answer:
        query = Form.parse(request.scope["query_string"].decode("latin-1"))
        body = self._renderer.render(
            "signin/sign_in.html",
            then=below(self._base, query.text("then")),
            obstacle=self._origins.obstacle(request.scope),
            visitor=await self._sessions.find(request.scope, request.now),
        )
        return Answer(200, {}, body=body.encode(), media_type=HTML)

    async def _take_link(self, request: Request) -> Answer:
        form = await self._read_form(request)
        link = await self._store.sign_in_links.find(rules.link_id(self._key, form.text("token")))
        if link is None:
            raise Rejected(Reason.CONSOLE_LINK, detail="unknown")
        try:
            cookie = await self._sessions.begin_with_link(
                link, request.scope, request.now, _audit(request, link.username)
            )
        except NotFound as error:
            raise Rejected(Reason.CONSOLE_LINK, detail=str(error)) from None
        return see_other(below(self._base, form.text("then")), [(b"set-cookie", cookie)])

    async def _offer_sign_in(self, request: Request) -> Answer:
        await _read_object(request)
        return Answer(200, self._passkeys.sign_in(request.now))

    async def _take_passkey(self, request: Request) -> Answer:
        sent = await _read_object(request)
        credential = _credential(sent)
        passkey = await self._store.passkeys.find(credential_id(credential))
        user = await self._store.users.find(passkey.username) if passkey is not None else None
        if passkey is None or user is None or not user.enabled:
            raise Rejected(Reason.CONSOLE_PASSKEY, detail="unknown")
        counted, used = self._passkeys.verify(credential, passkey, user, request.now)
        try:
            cookie = await self._sessions.begin_with_passkey(
                counted, used, request.scope, request.now, _audit(request, user.name)
            )
        except (NotFound, AlreadyExists, Cloned) as error:
            raise Rejected(Reason.CONSOLE_PASSKEY, detail=str(error)) from None
        then = sent.get("then")
        where = below(self._base, then if isinstance(then, str) else "")
        return Answer(200, {"location": where}, [(b"set-cookie", cookie)])

    async def _offer_passkey(self, request: Request) -> Answer:
        visitor, user, _ = await self._admit(request)
        known = await self._store.passkeys.list(visitor.name)
        return Answer(200, self._passkeys.registration(user, visitor.session, known, request.now))

    async def _keep_passkey(self, request: Request) -> Answer:
        visitor, user, sent = await self._admit(request)
        try:
            label = kinds.LABEL.parse(sent.get("label"))
        except ValueError as error:
            raise Rejected(Reason.ADMIN_INVALID, expected=f"label must be {error}") from None
        made, used = self._passkeys.verify_new(_credential(sent), user, visitor.session, label, request.now)
        notes = request.notes
        notes.by, notes.subject, notes.outcome = rules.caller(user.name), f"passkey of {user.name}", "created"

        def audit(_: object, after: Any) -> Sequence[AuditEntry]:
            return [AuditEntry(request.record().with_change(None, view_passkey(after).model_dump(mode="json")))]

        try:
            await self._store.passkeys.add(made, used, audit=audit)
        except (NotFound, AlreadyExists, TooMany) as error:
            raise Rejected(Reason.CONSOLE_PASSKEY, detail=str(error)) from None
        return Answer(201, {"id": made.id, "label": made.label})

    async def _sign_out(self, request: Request) -> Answer:
        form = await self._read_form(request)
        visitor = await self._sessions.find(request.scope, request.now)
        if visitor is not None:
            visitor.check_csrf(form.text("csrf"))
        audit = _audit(request, visitor.name if visitor is not None else "")
        cookie = await self._sessions.end(request.scope, request.now, audit)
        return see_other(f"{self._base}/sign-in", [(b"set-cookie", cookie)])

    async def _admit(self, request: Request) -> tuple[Visitor, User, dict[str, Any]]:
        """Return the visitor, its record, and what a script of its page sent."""
        sent = await _read_object(request)
        visitor = await self._sessions.find(request.scope, request.now)
        user = await self._store.users.find(visitor.name) if visitor is not None else None
        if visitor is None or user is None:
            raise Rejected(Reason.ADMIN_CSRF, detail="no session")
        tokens = http.header(request.scope, _CSRF)
        visitor.check_csrf(tokens[0].decode("latin-1") if len(tokens) == 1 else None)
        return visitor, user, sent

    async def _read_form(self, request: Request) -> Form:
        http.check_form(request.scope, "POST")
        form = Form.parse((await http.read_body(request.receive)).decode("utf-8", "replace"))
        request.notes.is_read = True
        return form


def _audit(request: Request, username: str) -> Audit:
    """Return what makes the records of a sign-in or a sign-out."""

    def entries(before: Any, after: Any) -> Sequence[AuditEntry]:
        notes = request.notes
        notes.by, notes.subject = rules.caller(username), f"session of {username}"
        notes.outcome = "created" if before is None else "removed"
        was, is_now = (
            view_session(one).model_dump(mode="json") if one is not None else None for one in (before, after)
        )
        return [AuditEntry(request.record().with_change(was, is_now))]

    return entries


async def _read_object(request: Request) -> dict[str, Any]:
    """Return the JSON object that a script sent; no form of another site can have its Content-Type."""
    types = http.header(request.scope, b"content-type")
    if types != [b"application/json"]:
        raise Rejected(Reason.ADMIN_JSON, expected="application/json")
    body = await http.read_body(request.receive)
    request.notes.is_read = True
    try:
        return strict_json.parse_object(body)
    except (ValueError, RecursionError) as error:
        raise Rejected(Reason.ADMIN_JSON, expected=str(error)[:100]) from None


def _credential(sent: dict[str, Any]) -> dict[str, Any]:
    found = sent.get("credential")
    if not isinstance(found, dict):
        raise Rejected(Reason.CONSOLE_PASSKEY, detail="no credential")
    return found
