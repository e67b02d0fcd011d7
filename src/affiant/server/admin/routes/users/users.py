"""Users of the console, and the links with which they sign in. Only owners make and change them."""

import secrets
from operator import attrgetter
from typing import Annotated, Any

from pydantic import Field

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import base64url
from affiant.server.admin import changes, lists, models
from affiant.server.admin.lists import CursorText, Limit, Source
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.operation import OF_CHANGES, TAKEN, UNKNOWN, Call, IfMatch, Reach, Routes
from affiant.server.admin.routes.users import documents, rules
from affiant.server.admin.routes.users.documents import USER, LinkNew, UserChanges, UserNew, view_link, view_user
from affiant.server.registry import kinds
from affiant.server.registry.fields import By
from affiant.storage.console import USERS as RECORDS
from affiant.storage.records import NotFound, User
from affiant.storage.registry import Condition, Rows, Steps

USERS = Routes("users")
Name = Annotated[str, Field(max_length=kinds.NAME.longest)]
_HANDLE_BYTES = 32


@USERS("GET /users", Role.VIEWER, Reach.SERVER, answers=models.page(documents.User), is_list=True)
async def list_users(call: Call, limit: Limit = 100, cursor: CursorText = None) -> Any:
    """List the users of the console, by name."""

    async def fetch(after: str, limit: int) -> list[User]:
        return await call.context.store.users.list(after=after, limit=limit)

    return await lists.answer(
        call, limit, cursor, Source.paged(fetch, attrgetter("name"), lambda user: [view_user(user)])
    )


@USERS("POST /users", Role.OWNER, Reach.SERVER, answers=documents.User, status=201, refuses=TAKEN)
async def add_user(call: Call, wanted: UserNew) -> Any:
    """Add a user of the console, who signs in with a link first."""
    handle = base64url.encode(secrets.token_bytes(_HANDLE_BYTES))
    record = User(wanted.name, Role.VIEWER.value, handle=handle, created_at=call.now)
    built = USER.put(record, models.members(wanted, USER.by(By.NEW)))
    await call.context.store.users.add(built, audit=changes.audit(call, f"user {built.name}", view_user))
    return view_user(built)


@USERS("GET /users/{name}", Role.VIEWER, Reach.OWN, answers=documents.User, refuses=UNKNOWN)
async def show_user(call: Call, name: Name) -> Any:
    """Show a user; a caller who is limited to teams sees itself alone."""
    if call.who.limit is not None:
        check_own(call, name)
    return changes.tagged(call, view_user(await get(call, name)))


@USERS("PATCH /users/{name}", Role.OWNER, Reach.SERVER, answers=documents.User, refuses=OF_CHANGES)
async def change_user(call: Call, name: Name, wanted: UserChanges, if_match: IfMatch = None) -> Any:
    """Change the role or the teams of a user, or disable it (`enabled`): then its sessions end in the same commit."""
    await get(call, name)

    def change(stored: User) -> User:
        changes.check_match(if_match, view_user(stored))
        return USER.put(stored, models.members(wanted, USER.by(By.CHANGE)))

    audit = changes.audit(call, f"user {name}", view_user)
    changed = await call.context.store.users.update(name, change, audit=audit, condition=_leaving_one(call))
    return changes.tagged(call, view_user(changed))


@USERS("DELETE /users/{name}", Role.OWNER, Reach.SERVER, status=204, refuses=OF_CHANGES)
async def remove_user(call: Call, name: Name, if_match: IfMatch = None) -> None:
    """Remove a user; its passkeys, sessions and links go in the same commit."""
    changes.check_match(if_match, view_user(await get(call, name)))
    audit = changes.audit(call, f"user {name}", view_user)
    await call.context.store.users.remove(name, audit=audit, condition=_leaving_one(call))


@USERS("POST /users/{name}/links", Role.OWNER, Reach.SERVER, answers=documents.NewLink, status=201, refuses=UNKNOWN)
async def make_link(call: Call, name: Name, wanted: LinkNew) -> Any:
    """Make a link with which this user signs in once. It replaces the one before; its address is shown this once."""
    await get(call, name)
    link, token = rules.make_link(call.context.master_key, name, now=call.now, seconds=wanted.expires_in)
    audit = changes.audit(call, f"sign-in link of {name}", view_link)
    await call.context.store.sign_in_links.add(link, audit=audit)
    url = rules.link_url(call.context.issuer, token)
    return documents.NewLink(user=name, expires_at=link.expires_at, url=url)


async def get(call: Call, name: str) -> User:
    """Return the user of this name; raise NotFound if there is none."""
    found = await call.context.store.users.find(name)
    if found is None:
        raise NotFound(f"there is no user named {name}: see  affiant console users")
    return found


def check_own(call: Call, name: str) -> None:
    """Raise unless the caller is this user, or an owner: each user manages its own passkeys and sessions."""
    is_own = call.who.is_user and call.who.name == rules.caller(name)
    if not is_own and call.who.role is not Role.OWNER:
        raise Rejected(Reason.ADMIN_OWNER_ONLY)


def _leaving_one(call: Call) -> Condition | None:
    """Return the condition that a user of the console leaves at least one owner who can sign in.

    A client that is an owner stays one, and a caller at the data folder can make a link there.
    """
    if not call.who.is_user:
        return None

    def check(before: User, after: User | None) -> Steps[None]:
        if not _is_owner(before) or (after is not None and _is_owner(after)):
            return
        every: list[User] = yield Rows(RECORDS)
        if not any(_is_owner(user) for user in every if user.name != before.name):
            raise Rejected(Reason.ADMIN_LAST_OWNER)

    return check


def _is_owner(user: User) -> bool:
    return user.enabled and user.role == Role.OWNER.value
