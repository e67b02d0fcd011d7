"""APIs, the audiences of tokens; and the grants, each client with each API that it may request tokens for."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Annotated, Any

from pydantic import Field

from affiant.errors import ConfigError
from affiant.oauth import names
from affiant.oauth.parameters.scope import is_covered
from affiant.server.admin import changes, documents, lists, models, views
from affiant.server.admin.access import owners
from affiant.server.admin.documents import ApiChanges, ApiNew
from affiant.server.admin.lists import CursorText, Limit, Source
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.operation import OF_CHANGES, TAKEN, UNKNOWN, Call, IfMatch, Reach, Routes
from affiant.server.admin.routes.usage import used
from affiant.server.admin.routes.usage.used import Used
from affiant.server.keys import signing_keys
from affiant.server.registry import fields, kinds
from affiant.storage.entries import LONGEST_TOKEN, RefreshSelection, Revocation
from affiant.storage.records import Api, Client, NotFound

APIS, GRANTS = Routes("apis"), Routes("grants")
_SENT = [row for row in fields.API if row.name != "is_default"]  # a new API may also be none
_SCANNED = 500  # clients read for one page: an API that few ask for gives short pages, not a long wait
OfApi = Annotated[str | None, Field(max_length=512, description="only those for this API")]
Identifier = Annotated[str, Field(max_length=512, description="percent-encoded, as in https%3A%2F%2Forders.example")]


@APIS("GET /apis", Role.VIEWER, Reach.TEAMS, answers=models.page(documents.UsedApi), is_list=True)
async def list_apis(call: Call, limit: Limit = 100, cursor: CursorText = None) -> Any:
    """List the APIs, by identifier, with how each one is used."""
    uses = await used.find_apis(call)

    async def fetch(after: str, limit: int) -> list[Api]:
        return [api for api in await call.context.store.apis.list() if api.identifier > after][:limit]

    source = Source.paged(fetch, attrgetter("identifier"), lambda api: [_with_use(api, uses)])
    return await lists.answer(call, limit, cursor, source)


@APIS("POST /apis", Role.OWNER, Reach.TEAMS, answers=documents.Api, status=201, refuses=TAKEN)
async def register_api(call: Call, wanted: ApiNew) -> Any:
    """Register an API. The first one becomes the default, for tokens that name no API, unless it says otherwise."""
    built = build(call, wanted, has_default=await call.context.store.apis.default() is not None)
    await _prepare(call, built)
    await call.context.store.apis.add(built, audit=_audit(call, built.identifier))
    return views.api(built)


def build(call: Call, wanted: ApiNew, *, has_default: bool) -> Api:
    """Return the API of this document, not stored yet; raise ConfigError if a rule refuses it."""
    is_default = wanted.is_default
    if is_default is None:
        is_default = not has_default and wanted.identifier != call.context.identifier
    record = Api(wanted.identifier, wanted.name, (), is_default=is_default, created_at=call.now)
    built = fields.API.put(record, models.members(wanted, _SENT))
    _check_admin_api(call, built)
    return built


@APIS("GET /apis/{identifier:path}", Role.VIEWER, Reach.TEAMS, answers=documents.UsedApi, refuses=UNKNOWN)
async def show_api(call: Call, identifier: Identifier) -> Any:
    """Show an API, and how it is used."""
    found = await get(call, identifier)
    changes.tagged(call, views.api(found))
    return _with_use(found, await used.find_apis(call))


def _with_use(api: Api, uses: Mapping[str, Used]) -> documents.UsedApi:
    of = uses.get(api.identifier, Used())
    return documents.UsedApi(**views.api(api).model_dump(), tokens_24h=of.tokens_24h, tokens_30d=of.tokens_30d)


@APIS("PATCH /apis/{identifier:path}", Role.OWNER, Reach.TEAMS, answers=documents.Api, refuses=OF_CHANGES)
async def change_api(call: Call, identifier: Identifier, wanted: ApiChanges, if_match: IfMatch = None) -> Any:
    """Change an API: its name, its scopes, or that it is the default."""
    stored = await get(call, identifier)
    await _prepare(call, build_changed(call, stored, wanted))

    def change(stored: Api) -> Api:
        changes.check_match(if_match, views.api(stored))
        return build_changed(call, stored, wanted)

    changed = await call.context.store.apis.update(identifier, change, audit=_audit(call, identifier))
    return changes.tagged(call, views.api(changed))


@APIS("DELETE /apis/{identifier:path}", Role.OWNER, Reach.TEAMS, status=204, refuses=OF_CHANGES)
async def remove_api(call: Call, identifier: Identifier, if_match: IfMatch = None) -> None:
    """Remove an API; the access tokens for it end in the same commit."""
    changes.check_match(if_match, views.api(await get(call, identifier)))
    owners.check_admin_api(call, identifier)
    await call.context.store.apis.remove(identifier, audit=_audit(call, identifier))


async def get(call: Call, identifier: str) -> Api:
    """Return the API of this identifier; raise NotFound if there is none."""
    try:
        found = await call.context.store.apis.find(kinds.API.parse(identifier))
    except ValueError:
        found = None
    if found is None:
        raise unknown()
    return found


def unknown() -> NotFound:
    """Return the refusal of an unknown identifier."""
    return NotFound("there is no API of this identifier: see  affiant api list")


def build_changed(call: Call, stored: Api, wanted: ApiChanges) -> Api:
    """Return the API with these changes, not stored yet."""
    owners.check_admin_api(call, stored.identifier)
    changed = fields.API.put(stored, models.members(wanted, fields.API))
    _check_admin_api(call, changed)
    return changed


async def _prepare(call: Call, api: Api) -> None:
    """Make a key of the API's algorithm before its first token."""
    if api.signing_alg is not None:
        who = {"by": call.who.name, "trace_id": call.request.trace_id}
        await signing_keys.ensure(call.context.store, call.context.vault, now=call.now, line=api.signing_alg, **who)


def _check_admin_api(call: Call, api: Api) -> None:
    """Raise ConfigError if the admin API would be the default: clients would get tokens for it unasked."""
    if api.identifier != call.context.identifier:
        return
    if api.is_default:
        raise ConfigError("the admin API cannot be the default")
    if api.access_token_typ != names.ACCESS_TOKEN_TYP:
        raise ConfigError(f"the admin API takes tokens of typ {names.ACCESS_TOKEN_TYP} alone")


def _audit(call: Call, identifier: str) -> Any:
    def ends(_: Api | None, after: Api | None) -> changes.Ended | None:
        if after is not None:
            return None
        access = Revocation("api", identifier, call.now, call.now + LONGEST_TOKEN)
        return changes.Ended(access, RefreshSelection(resource=identifier))

    return changes.audit(call, f"api {identifier}", views.api, ends=ends)


@GRANTS("GET /grants", Role.VIEWER, Reach.TEAMS, answers=models.page(documents.Grant), is_list=True)
async def list_grants(call: Call, resource: OfApi = None, limit: Limit = 100, cursor: CursorText = None) -> Any:
    """List the grants, by client; `limit` counts clients, each of which may have several APIs.

    With `resource` it counts grants. A page may then be short or empty, and have a next one.
    """
    apis = {api.identifier: api for api in await call.whole.apis.list()}
    default = next((api for api in apis.values() if api.is_default), None)

    async def fetch(after: str, limit: int) -> list[Client]:
        return await call.context.store.clients.list(after=after, limit=limit)

    def show(client: Client) -> list[documents.Grant]:
        return [grant for grant in _grants(client, apis, default) if resource in (None, grant.resource)]

    source = Source.paged(fetch, attrgetter("client_id"), show, scan=_SCANNED if resource is not None else 0)
    return await lists.answer(call, limit, cursor, source)


def _grants(client: Client, apis: dict[str, Api], default: Api | None) -> list[documents.Grant]:
    allowed = client.resources or ((default.identifier,) if default else ())
    return [
        documents.Grant(
            client_id=client.client_id,
            resource=identifier,
            scope=[name for name in client.scope if is_covered(name, apis[identifier].scopes)],
            grant_types=list(client.grant_types),
            enabled=client.enabled,
        )
        for identifier in allowed
        if identifier in apis
    ]
