"""Keys that sign access tokens."""

from typing import Annotated, Any

from pydantic import Field

from affiant.errors import ConfigError
from affiant.jose.algorithms import ASYMMETRIC
from affiant.reasons import Reason
from affiant.server.admin import documents, views
from affiant.server.admin.documents import SigningKeyNew
from affiant.server.admin.reads import lists
from affiant.server.admin.reads.lists import CursorText, Limit, Source
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.operation import Call, Routes
from affiant.server.keys import signing_keys
from affiant.server.keys.calendar import SEEN_SECONDS
from affiant.storage.records import SigningKey

ROUTES = Routes("signing keys")
Kid = Annotated[str, Field(max_length=256)]


@ROUTES("GET /signing-keys", Role.VIEWER, answers=documents.page(documents.SigningKey), is_list=True)
async def list_signing_keys(call: Call, limit: Limit = 100, cursor: CursorText = None) -> Any:
    """List the keys, the newest first, with their states."""
    found = await call.desk.store.signing_keys.list()

    async def fetch(place: str, limit: int) -> list[tuple[int, SigningKey]]:
        start = int(place or 0)
        return list(enumerate(found[start : start + limit], start + 1))

    source = Source(fetch, lambda row: str(row[0]), lambda row: [views.signing_key(row[1], found, call.now)])
    return await lists.answer(call, limit, cursor, source)


@ROUTES("POST /signing-keys", Role.OWNER, answers=documents.SigningKey, status=201)
async def rotate_signing_key(call: Call, wanted: SigningKeyNew) -> Any:
    """Announce the next key; it signs after the days of announcement, or at once."""
    if wanted.alg is not None and wanted.alg not in ASYMMETRIC:
        raise ConfigError(f"alg is one of: {', '.join(ASYMMETRIC)}")
    if wanted.alg is not None and wanted.line is not None:
        raise ConfigError("give either alg or line: keys of an algorithm that APIs have chosen keep it")
    store = call.desk.store
    made = await signing_keys.rotate(
        store,
        call.desk.vault,
        **_doer(call),
        delay=SEEN_SECONDS if wanted.at_once else call.desk.calendar.announcement,
        alg=wanted.alg,
        line=wanted.line or signing_keys.DEFAULT_LINE,
    )
    return views.signing_key(made, await store.signing_keys.list(), call.now)


@ROUTES(
    "DELETE /signing-keys/{kid}",
    Role.OWNER,
    answers=documents.RemovedSigningKey,
    refuses=(Reason.ADMIN_NOT_FOUND,),
)
async def remove_signing_key(call: Call, kid: Kid) -> Any:
    """Remove a key and its tokens at once. The next key signs then, or a new one."""
    signer = await signing_keys.remove(call.desk.store, call.desk.vault, kid, **_doer(call))
    return documents.RemovedSigningKey(
        kid=kid, state="removed", signer=signer.kid if signer else None, alg=signer.alg if signer else None
    )


def _doer(call: Call) -> dict[str, Any]:
    """Return the actor and the time for the audit log; the record has the trace id of the request."""
    return {"now": call.now, "by": call.who.name, "trace_id": call.request.trace_id}
