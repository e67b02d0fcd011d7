"""Initial access tokens, with which clients register themselves (RFC 7591 section 3)."""

from typing import Annotated, Any

from pydantic import Field

from affiant.errors import Rejected
from affiant.reasons import Reason
from affiant.server.admin import changes, documents, views
from affiant.server.admin.documents import InitialAccessTokenNew
from affiant.server.admin.reads import lists
from affiant.server.admin.reads.lists import CursorText, Limit, Source
from affiant.server.admin.roles import SCOPES, Role
from affiant.server.admin.routes.operation import Call, Routes
from affiant.server.registration import initial_tokens
from affiant.storage.records import InitialAccessToken, NotFound

ROUTES = Routes("initial access tokens")
Id = Annotated[str, Field(max_length=64)]


@ROUTES("GET /initial-access-tokens", Role.VIEWER, answers=documents.page(documents.InitialAccessToken), is_list=True)
async def list_initial_access_tokens(call: Call, limit: Limit = 100, cursor: CursorText = None) -> Any:
    """List the initial access tokens, the newest first, expired and used ones included."""

    async def fetch(place: str, limit: int) -> list[tuple[int, InitialAccessToken]]:
        start, found = int(place or 0), await call.desk.store.initial_access_tokens.list()
        return list(enumerate(found[start : start + limit], start + 1))

    source = Source(fetch, lambda row: str(row[0]), lambda row: [views.initial_access_token(row[1])])
    return await lists.answer(call, limit, cursor, source)


@ROUTES(
    "POST /initial-access-tokens",
    Role.OPERATOR,
    answers=documents.IssuedInitialAccessToken,
    status=201,
    refuses=(Reason.ADMIN_EXISTS,),
)
async def issue_initial_access_token(call: Call, wanted: InitialAccessTokenNew) -> Any:
    """Issue a token; its text is in this answer, and in no later one."""
    # Attack: a client registers itself for the admin API.
    if set(SCOPES) & set(wanted.scope) or call.desk.identifier in wanted.resources:
        raise Rejected(Reason.ADMIN_OWNER_ONLY, expected="no client registers itself for the admin API")
    token, text = await initial_tokens.issue(
        call.desk.store,
        call.desk.master_key,
        scope=tuple(wanted.scope),
        resources=tuple(wanted.resources),
        types=tuple(wanted.authorization_details_types),
        lifetime_seconds=wanted.lifetime_seconds,
        uses=wanted.uses,
        id=wanted.id,
        now=call.now,
        audit=_audit(call),
    )
    shown = views.initial_access_token(token)
    return documents.IssuedInitialAccessToken(**shown.model_dump(), initial_access_token=text)


@ROUTES("DELETE /initial-access-tokens/{id}", Role.OPERATOR, status=204, refuses=(Reason.ADMIN_NOT_FOUND,))
async def revoke_initial_access_token(call: Call, id: Id) -> None:  # noqa: A002 - its name
    """Revoke the token; clients that registered with it stay."""
    if not any(token.id == id for token in await call.desk.store.initial_access_tokens.list()):
        raise NotFound("there is no initial access token of this id")
    await call.desk.store.initial_access_tokens.remove(id, audit=_audit(call))


def _audit(call: Call) -> Any:
    def show(token: Any) -> dict[str, Any]:
        return views.initial_access_token(token).model_dump(mode="json")

    def entries(before: Any, after: Any) -> Any:
        return changes.audit(call, f"initial access token {(before or after).id}", show)(before, after)

    return entries
