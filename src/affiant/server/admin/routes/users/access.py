"""The passkeys and sessions of users. Each user manages its own, and an owner those of all."""

from typing import Annotated, Any

from pydantic import Field

from affiant.server.admin import changes, lists, models
from affiant.server.admin.lists import CursorText, Limit, Source
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.operation import UNKNOWN, Call, Reach, Routes
from affiant.server.admin.routes.users import documents, rules, users
from affiant.server.admin.routes.users.documents import PasskeyChanges, view_passkey, view_session
from affiant.server.admin.routes.users.users import Name, check_own
from affiant.storage.records import NotFound, Passkey

PASSKEYS, SESSIONS = Routes("passkeys"), Routes("sessions")
PasskeyId = Annotated[str, Field(max_length=1400)]
SessionId = Annotated[str, Field(max_length=64)]
OfUser = Annotated[str | None, Field(max_length=64, description="of this user only")]


@PASSKEYS("GET /users/{name}/passkeys", Role.VIEWER, Reach.OWN, answers=list[documents.Passkey], refuses=UNKNOWN)
async def list_passkeys(call: Call, name: Name) -> Any:
    """List the passkeys of a user: its own, or of any user for an owner."""
    check_own(call, name)
    await users.get(call, name)
    return [view_passkey(passkey) for passkey in await call.context.store.passkeys.list(name)]


@PASSKEYS("PATCH /users/{name}/passkeys/{id}", Role.VIEWER, Reach.OWN, answers=documents.Passkey, refuses=UNKNOWN)
async def rename_passkey(call: Call, name: Name, id: PasskeyId, wanted: PasskeyChanges) -> Any:  # noqa: A002
    """Give a passkey another label."""
    await _get(call, name, id)
    audit = changes.audit(call, f"passkey of {name}", view_passkey)
    return view_passkey(await call.context.store.passkeys.rename(id, wanted.label, audit=audit))


@PASSKEYS("DELETE /users/{name}/passkeys/{id}", Role.VIEWER, Reach.OWN, status=204, refuses=UNKNOWN)
async def remove_passkey(call: Call, name: Name, id: PasskeyId) -> None:  # noqa: A002
    """Remove a passkey; the sessions that it began end in the same commit."""
    await _get(call, name, id)
    await call.context.store.passkeys.remove(id, audit=changes.audit(call, f"passkey of {name}", view_passkey))


@SESSIONS("GET /sessions", Role.VIEWER, Reach.OWN, answers=models.page(documents.Session), is_list=True)
async def list_sessions(call: Call, user: OfUser = None, limit: Limit = 100, cursor: CursorText = None) -> Any:
    """List the sessions that have not ended: the caller's own, or those of all users for an owner."""
    if call.who.role is not Role.OWNER and user is None:
        user = rules.username(call.who.name)
    if user is not None:
        check_own(call, user)
    found = await call.context.store.sessions.list(user)
    live = [session for session in found if not rules.is_over(session, call.now)]
    return await lists.answer(call, limit, cursor, Source.of(live, view_session))


@SESSIONS("DELETE /sessions/{id}", Role.VIEWER, Reach.OWN, status=204, refuses=UNKNOWN)
async def end_session(call: Call, id: SessionId) -> None:  # noqa: A002
    """End a session: an own one, or any for an owner."""
    found = await call.context.store.sessions.find(id)
    if found is None:
        raise NotFound("there is no such session: it may have ended")
    check_own(call, found.username)
    await call.context.store.sessions.end(id, audit=changes.audit(call, f"session of {found.username}", view_session))


async def _get(call: Call, name: str, id: str) -> Passkey:  # noqa: A002
    check_own(call, name)
    found = await call.context.store.passkeys.find(id)
    if found is None or found.username != name:
        raise NotFound(f"{name} has no such passkey")
    return found
