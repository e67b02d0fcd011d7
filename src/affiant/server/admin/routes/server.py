"""The server itself: its settings, and the keys that sign access tokens."""

import asyncio
from typing import Annotated, Any

from pydantic import Field

from affiant.errors import ConfigError
from affiant.jose.algorithms import ASYMMETRIC
from affiant.server.admin import documents, lists, models, views
from affiant.server.admin.documents import SigningKeyNew
from affiant.server.admin.lists import CursorText, Limit, Source
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.operation import UNKNOWN, Call, Reach, Routes
from affiant.server.keys import signing_keys
from affiant.server.keys.calendar import SEEN_SECONDS
from affiant.server.request.http import Answer
from affiant.system.version import __version__
from affiant.telemetry.exposition import render_of

SETTINGS, METRICS, SIGNING_KEYS = Routes("settings"), Routes("metrics"), Routes("signing keys")
Kid = Annotated[str, Field(max_length=256)]


@SETTINGS("GET /settings", Role.VIEWER, Reach.SERVER, answers=list[documents.Setting])
async def list_settings(call: Call) -> Any:
    """List the settings, each with its value and its source; the values of secrets are not shown."""
    return call.context.settings  # they are changed at their source, and take effect when the server starts


@SETTINGS("GET /status", Role.VIEWER, Reach.SERVER, answers=documents.Status)
async def show_status(call: Call) -> Any:
    """Show how the node that answers is: its version, its clock, and what keeps it from issuing tokens."""
    return documents.Status(
        version=__version__,
        issuer=call.context.issuer,
        now=call.request.now,
        clock_offset=round(call.context.store.clock_offset, 3),
        obstacles=await call.context.obstacles(),
    )


@METRICS("GET /metrics", Role.VIEWER, Reach.SERVER, answers=None)
async def show_metrics(call: Call) -> Answer:
    """Show the metrics of all processes of the node that answers, as text for Prometheus; OpenMetrics if asked for."""
    # On a thread, because the files of other processes are read.
    page = await asyncio.to_thread(render_of, call.context.board.read, call.header("accept") or "")
    return Answer(200, {}, body=page.text, media_type=page.media_type.encode("ascii"))


@SIGNING_KEYS("GET /signing-keys", Role.VIEWER, Reach.PUBLIC, answers=models.page(documents.SigningKey), is_list=True)
async def list_signing_keys(call: Call, limit: Limit = 100, cursor: CursorText = None) -> Any:
    """List the keys, the newest first, with their states."""
    found = await call.context.store.signing_keys.list()
    source = Source.of(found, lambda key: views.signing_key(key, found, call.now, call.context.calendar))
    return await lists.answer(call, limit, cursor, source)


@SIGNING_KEYS("POST /signing-keys", Role.OWNER, Reach.SERVER, answers=documents.SigningKey, status=201)
async def rotate_signing_key(call: Call, wanted: SigningKeyNew) -> Any:
    """Announce the next key; it signs after the days of announcement, or at once."""
    if wanted.alg is not None and wanted.alg not in ASYMMETRIC:
        raise ConfigError(f"alg is one of: {', '.join(ASYMMETRIC)}")
    if wanted.alg is not None and wanted.line is not None:
        raise ConfigError("give either alg or line: keys of an algorithm that APIs have chosen keep it")
    store = call.context.store
    made = await signing_keys.rotate(
        store,
        call.context.vault,
        **_doer(call),
        delay=SEEN_SECONDS if wanted.at_once else call.context.calendar.announcement,
        alg=wanted.alg,
        line=wanted.line or signing_keys.DEFAULT_LINE,
        key=wanted.key,
    )
    return views.signing_key(made, await store.signing_keys.list(), call.now, call.context.calendar)


@SIGNING_KEYS(
    "DELETE /signing-keys/{kid}", Role.OWNER, Reach.SERVER, answers=documents.RemovedSigningKey, refuses=UNKNOWN
)
async def remove_signing_key(call: Call, kid: Kid) -> Any:
    """Remove a key and its tokens at once. The next key signs then, or a new one."""
    store = call.context.store
    signer = await signing_keys.remove(store, call.context.vault, kid, **_doer(call))
    lost = next(key for key in await store.signing_keys.list() if key.kid == kid)
    return documents.RemovedSigningKey(
        kid=kid,
        state="removed",
        signer=signer.kid if signer else None,
        alg=signer.alg if signer else None,
        kms=lost.kms or None,
    )


def _doer(call: Call) -> dict[str, Any]:
    """Return the actor and the time for the audit log; the record has the trace id of the request."""
    return {"now": call.now, "by": call.who.name, "trace_id": call.request.trace_id}
