"""Tokens: find one, end one or many, and see that the guards know it; refresh tokens; initial access tokens."""

from __future__ import annotations

import json
from typing import Any

from affiant.errors import Rejected
from affiant.jose import base64url, compact
from affiant.oauth import revocations
from affiant.server.console.api import Ask, Refusal, at
from affiant.server.console.pages.page import page
from affiant.server.console.show.records import exports
from affiant.server.console.view import View
from affiant.server.request.http import Answer

_PAGE = 50
_LISTS = {"revocations": "/revocations", "refresh": "/refresh-tokens", "initial": "/initial-access-tokens"}
# How a revocation names what it ends, for people.
KINDS = {
    "jti": "one token, by its jti",
    "client": "all tokens of a client",
    "key": "tokens that a client got with one key or secret",
    "api": "all tokens for an API",
    "rule": "tokens that a rule gave, as TRUST/RULE",
    "trust": "tokens that the rules of a trust gave",
    "task": "tokens of a client for one task",
    "family": "a family of refresh tokens",
    "all": "every token of every client",
}


@page("/tokens")
async def show_tokens(view: View) -> Answer:
    chosen = view.query.text("list")
    listed = chosen if chosen in _LISTS else "revocations"
    client_id = view.query.maybe("client_id") if listed == "refresh" else None
    if exports.is_wanted(view):
        return await exports.stream(view, _LISTS[listed], listed, {"client_id": client_id} if client_id else {})
    found = await view.api.get(_LISTS[listed], limit=_PAGE, cursor=view.query.maybe("cursor"), client_id=client_id)
    return view.show(
        "tokens/tokens.html",
        kinds=KINDS,
        kind=view.query.text("kind"),
        value=view.query.text("value"),
        of=view.query.text("of"),
        listed=listed,
        rows=found["items"],
        following=found["next"],
        client_id=client_id or "",
        ended=_ended(view),
    )


def _ended(view: View) -> dict[str, Any] | None:
    """Return the revocation that led here, with its name in the feed."""
    done = view.done or {}
    try:
        revoked = json.loads(done.get("after") or "null") if done.get("outcome") == "revoked" else None
    except ValueError:
        return None
    if not isinstance(revoked, dict) or not {"kind", "value", "at"} <= revoked.keys():
        return None
    digest = base64url.encode(revocations.digest(str(revoked["kind"]), str(revoked["value"])))
    feed = f"{view.base.rpartition('/')[0]}/revocations"
    return {**revoked, "digest": digest, "feed": feed, "ago": max(0.0, view.now - float(done["at"]))}


@page("/tokens/found", method="POST")
async def find_token(view: View) -> Answer:
    """By POST: a token is a credential, and URLs are kept in histories and logs."""
    given = "".join(view.form.text("token").removeprefix("Bearer ").split())
    jti, judged = given, None
    if given.count(".") == 2:  # noqa: PLR2004 - a compact JWS
        judged = (await view.api.send(Ask("POST", "/explain", {"request": given}))).document
        jti = _jti(given)
    found, refusal = None, None
    try:
        found = await view.api.get(at("/tokens/{}", jti)) if jti else None
    except Refusal as error:
        refusal = error
    return view.show("tokens/found.html", found=found, refusal=refusal, judged=judged, jti=jti)


def _jti(token: str) -> str:
    try:
        found = compact.parse(token).claims.get("jti")
    except Rejected:
        return ""
    return found if isinstance(found, str) else ""
