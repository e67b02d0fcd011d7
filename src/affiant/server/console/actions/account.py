"""Remove and rename passkeys, end sessions: a user's own, or those of all users for an owner."""

from affiant.server.console.actions.action import action
from affiant.server.console.api import Api, Ask, at
from affiant.server.console.view import Form

_PASSKEY = "/users/{}/passkeys/{}"


@action("passkey.remove", "Remove the passkey")
async def remove_passkey(_: Api, form: Form) -> Ask:
    return Ask("DELETE", at(_PASSKEY, form.text("user"), form.text("id")))


@remove_passkey.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    user, found = form.text("user"), await api.get(at("/users/{}/passkeys", form.text("user")))
    sessions = (await api.get("/sessions", user=user))["items"]
    ended = sum(session["passkey"] == form.text("id") for session in sessions)
    left = sum(passkey["id"] != form.text("id") for passkey in found)
    none_left = f"{user} has no other passkey, and needs a link to sign in again."
    return [
        f"{user} cannot sign in with it any more, and the sessions that it began end: {ended}.",
        f"Passkeys that are left: {left}." if left else none_left,
        "It cannot be undone: the device can make a new one.",
    ]


@action("passkey.rename", "Rename the passkey")
async def rename_passkey(_: Api, form: Form) -> Ask:
    return Ask("PATCH", at(_PASSKEY, form.text("user"), form.text("id")), {"label": form.text("label")})


@action("session.end", "End the session")
async def end_session(_: Api, form: Form) -> Ask:
    return Ask("DELETE", at("/sessions/{}", form.text("id")))
