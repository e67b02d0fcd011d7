"""The console: find the visitor, then the page or the action; the headers of every answer.

Attack: a page of another origin that makes a visitor's browser act (CSRF), frames the console (clickjacking), or gets
markup into it (XSS). So a form needs the Origin of the console and the token of the session, no page may be framed,
every template escapes, and no script or style of a page runs but the console's own files.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar
from urllib.parse import quote, urlsplit

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth.resource_request import path_of
from affiant.server.admin.calls import AdminContext
from affiant.server.console import static
from affiant.server.console.actions import action
from affiant.server.console.api import Gate, Gone, Refusal
from affiant.server.console.origins import Origins
from affiant.server.console.pages import page, stream
from affiant.server.console.pages.events.live import Live
from affiant.server.console.rendering import Renderer
from affiant.server.console.signin import Sessions, Visitor
from affiant.server.console.signin.entry import Entry, Parts
from affiant.server.console.view import HTML, Form, View
from affiant.server.request import http
from affiant.server.request.counting.uses import Uses
from affiant.server.request.endpoint import Context, Recorder, remedy_headers
from affiant.server.request.http import Answer
from affiant.server.request.notes import Request

# One module makes elements of HTML, and of the console's own pages alone (static/swap.js, policy `affiant`).
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    b"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types affiant"
)
HEADERS = [
    (b"content-security-policy", _POLICY),
    (b"x-frame-options", b"DENY"),
    # Not no-referrer, with which a browser sends `Origin: null` with the console's own forms.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=()"),
]  # fmt: skip
PATH = "/console"  # below the issuer
PARTS = "parts"  # of the query of a page that refreshes itself (static/refresh.js)
_ACTIONS = "/actions/"


class Console(Recorder):
    """The console as an ASGI application."""

    name: ClassVar[str] = "console"

    def __init__(self, context: AdminContext, *, base: str, clock: Callable[[], float]) -> None:
        uses = Uses(context.store.key_uses)
        super().__init__(Context(context.issuer, context.store.ledger, context.limits, uses, clock))
        self._base = base
        self._gate = Gate(context, clock=clock)
        self._origins = Origins(context.issuer)
        self._sessions = Sessions(context.store, context.master_key, self._origins)
        self._renderer = Renderer(base)
        self._ending = context.ending
        self._live = Live(self._gate, self._renderer.render, clock)
        parts = Parts(context.store, context.master_key, self._origins, self._sessions, self._renderer, base)
        self._entry = Entry(parts)

    async def __call__(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        path = path_of(scope).removeprefix(self._base)
        file = static.find(scope, path)
        if file is not None:
            await http.respond(send, file, HEADERS, always=static.HEADERS)
            return
        request = self.begin(scope, receive)
        try:
            answer = await self._answer(request, path)
        except Gone:
            return
        except Exception as error:  # noqa: BLE001 - every failure is recorded and answered
            answer = await self.fail(request, error)
        headers = [*HEADERS, (b"x-trace-id", request.trace_id.encode("ascii"))]
        if answer.stream is not None:
            await stream.respond(answer, headers, (receive, send), self._ending)
        else:
            await http.respond(send, answer, headers)

    async def _answer(self, request: Request, path: str) -> Answer:
        with self._deadline:  # Attack: a body that never ends
            entered = await self._entry.answer(request, path)
            if entered is not None:
                return entered
            # A page that was left open reads its parts again: no use of the session, which would never end.
            is_use = not Form.parse(request.scope["query_string"].decode("latin-1")).has(PARTS)
            visitor = await self._sessions.find(request.scope, request.now, is_use=is_use)
            if visitor is None:
                return self._sign_in(request)
            form = await self._read_form(request, visitor)
        return await self._show(request, path or "/", visitor, form)

    async def _show(self, request: Request, path: str, visitor: Visitor, form: Form) -> Answer:
        view = self._view(request, path, visitor, form)
        if view.method == "GET":
            await view.look_back()
        try:
            found = await self._find(view, path)
        except Refusal as refusal:
            return view.show("problem.html", status=refusal.status, refusal=refusal)
        return found if found is not None else view.show("absent.html", status=404)

    async def _find(self, view: View, path: str) -> Answer | None:
        if path.startswith(_ACTIONS) and view.method == "POST":
            return await action.run(view, path.removeprefix(_ACTIONS))
        return await page.show(view, path)

    async def _read_form(self, request: Request, visitor: Visitor) -> Form:
        """Return the form of a POST; raise ADMIN_CSRF unless a page of the console of this session sent it."""
        http.check_method(request.scope, "GET", "HEAD", "POST")
        if request.scope["method"] != "POST":
            request.notes.is_read = True
            return Form({})
        self._origins.check(request.scope)
        http.check_form(request.scope, "POST")
        form = Form.parse((await http.read_body(request.receive)).decode("utf-8", "replace"))
        request.notes.is_read = True
        visitor.check_csrf(form.text(action.CSRF))
        return form

    def _view(self, request: Request, path: str, visitor: Visitor, form: Form) -> View:
        return View(
            issuer=self._issuer,
            base=self._base,
            path=path,
            method="POST" if request.scope["method"] == "POST" else "GET",
            form=form,
            visitor=visitor,
            api=self._gate.open(visitor.principal, request.scope, request.receive),
            now=request.now,
            query=Form.parse(request.scope["query_string"].decode("latin-1")),
            scope=request.scope,
            live=self._live,
            look_again=partial(self._look_again, request),
            _render=self._renderer.render,
        )

    async def _look_again(self, request: Request) -> Visitor | None:
        """Return the visitor of a request that takes long, as he is now; None if his session has ended."""
        return await self._sessions.find(request.scope, self._clock(), is_use=False)

    def _sign_in(self, request: Request) -> Answer:
        """Lead to the sign-in, and from there back to this page."""
        if request.scope["method"] not in ("GET", "HEAD"):
            raise Rejected(Reason.ADMIN_CSRF)
        query = request.scope["query_string"].decode("latin-1")
        wanted = path_of(request.scope) + (f"?{query}" if query else "")
        return action.see_other(f"{self._base}/sign-in?then={quote(wanted, safe='/')}")

    def refuse(self, request: Request, refusal: Rejected) -> Answer:
        row, headers = refusal.reason.value, remedy_headers(refusal)
        if http.header(request.scope, b"accept") == [http.JSON]:  # a script of a page asked
            said = {"title": row.sentence, "fix": row.fix, "trace_id": request.trace_id}
            return Answer(row.status, said, headers)
        body = self._renderer.render("error.html", row=row, trace_id=request.trace_id)
        return Answer(row.status, {}, headers, body=body.encode(), media_type=HTML)


def build(context: AdminContext, *, clock: Callable[[], float]) -> Console:
    """Build the console; `context` is that of the admin API."""
    return Console(context, base=urlsplit(context.issuer).path + PATH, clock=clock)
