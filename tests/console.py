"""Users of the console for tests: signed in as by a link, without a browser."""

from typing import Any

import httpx2

from affiant.server.admin.calls import AdminContext
from affiant.server.admin.routes.users import rules
from affiant.server.console.origins import Origins
from affiant.server.console.signin import Sessions
from affiant.storage.records import User
from affiant.testing import NOW


async def signed_in(
    context: AdminContext, user: str = "ann", *, role: str = "owner", now: int = NOW, **members: Any
) -> tuple[dict[str, str], str]:
    """Add a user who is signed in; return the cookies and the CSRF token of the session."""
    if await context.store.users.find(user) is None:
        await context.store.users.add(User(user, role, handle="aGFuZGxl", created_at=now, **members))
    link, _ = rules.make_link(context.master_key, user, now=now, seconds=60)
    await context.store.sign_in_links.add(link)
    sessions = Sessions(context.store, context.master_key, Origins(context.issuer))
    scope: dict[str, Any] = {"headers": [], "client": ("192.0.2.1", 1)}
    made = await sessions.begin_with_link(link, scope, now, lambda *_: [])
    name, _, secret = made.decode().partition(";")[0].partition("=")
    visitor = await sessions.find({"headers": [(b"cookie", f"{name}={secret}".encode())]}, now)
    assert visitor is not None
    return {name: secret}, visitor.csrf


def enter(issuer: str, url: str) -> dict[str, str]:
    """Take the link of `affiant console link` at a running server; return the cookies."""
    token = url.partition("#")[2]
    answer = httpx2.post(f"{issuer}/console/sign-in", data={"token": token}, headers={"Origin": issuer})
    assert answer.status_code == 303, answer.text
    return dict(answer.cookies)
