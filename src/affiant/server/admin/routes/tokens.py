"""Tokens: find one, list the live ones, revoke; and those with which clients register themselves (RFC 7591)."""

import json
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.oauth import revocations as rule
from affiant.server.admin import changes, documents, lists, models
from affiant.server.admin.access import owners
from affiant.server.admin.access.limit import Limit as TeamLimit
from affiant.server.admin.documents import InitialAccessTokenNew, RevocationNew
from affiant.server.admin.lists import PAGE, CursorText, Limit, Source
from affiant.server.admin.roles import SCOPES, Role
from affiant.server.admin.routes.audit import instant, members_of
from affiant.server.admin.routes.operation import TAKEN, UNKNOWN, Call, Reach, Routes
from affiant.server.keys import calendar
from affiant.server.registration import initial_tokens
from affiant.server.registry.kinds import MAX_CLIENT_ID
from affiant.server.token import active
from affiant.storage.entries import (
    LONGEST_TOKEN,
    OUT_OF_ORDER,
    AuditRow,
    Entry,
    RefreshSelection,
    RefreshToken,
    Revocation,
)
from affiant.storage.records import Api, Client, NotFound, Rule
from affiant.storage.registry import APIS, CLIENTS, RULES, TRUSTS, Get, Registry, Rows, Steps, Table

INITIAL, TOKENS = Routes("initial access tokens"), Routes("tokens")
ClientFilter = Annotated[str | None, Field(max_length=MAX_CLIENT_ID, description="of this client only")]
Jti = Annotated[str, Field(max_length=256)]
InitialId = Annotated[str, Field(max_length=64)]


@TOKENS("GET /refresh-tokens", Role.VIEWER, Reach.TEAMS, answers=models.page(documents.RefreshToken), is_list=True)
async def list_refresh_tokens(
    call: Call, client_id: ClientFilter = None, limit: Limit = 100, cursor: CursorText = None
) -> Any:
    """List the refresh tokens that can still be used; `limit` counts used ones too."""

    async def fetch(after: str, limit: int) -> list[RefreshToken]:
        return await call.context.store.refresh_tokens.list(client_id, after=bytes.fromhex(after), limit=limit)

    def show(token: RefreshToken) -> list[documents.RefreshToken]:
        return [_refresh_token(token)] if _is_live(token, call.now) else []

    source = Source.paged(fetch, lambda token: token.digest.hex(), show)
    return await lists.answer(call, limit, cursor, source)


def _place(row: Revocation) -> str:
    return json.dumps([row.kind, row.value, row.at, row.until])


@TOKENS("GET /tokens/{jti}", Role.VIEWER, Reach.TEAMS, answers=documents.FoundToken, refuses=UNKNOWN, is_long=True)
async def find_token(call: Call, jti: Jti) -> Any:
    """Find an access token of the last hour by its jti: its client, and whether it was revoked."""
    found = await _find_issued(call, jti)
    if found is None:
        raise NotFound("no access token of this jti was issued within the last hour")
    members, claims = found[1], _claims(jti, found[1])
    # The tokens that it was exchanged for were issued before it.
    while (parent := found[1].get("parent")) is not None:
        found = await _find_issued(call, parent, before=found[0])
        if found is None:
            break
        claims.setdefault("parents", []).append(_claims(parent, found[1]))
    ended = await active.find_revocations(claims, call.context.store.revocations)
    newest = max(ended, key=lambda row: row.at, default=None)
    return documents.FoundToken(
        jti=jti, issued_at=members["at"], trace_id=members["trace_id"], revoked=await _is_over(call, claims),
        revoked_by=f"{newest.kind} {newest.value}".strip() if newest is not None else None,
        **{name: members.get(name) for name in ("client_id", "scope", "resource")},
    )  # fmt: skip


async def _find_issued(call: Call, jti: str, *, before: int | None = None) -> tuple[int, dict[str, Any]] | None:
    """Return the number and the members of the record of this token, from before this number."""
    log, following = call.context.store.audit_log, None
    spelt, since = json.dumps(jti).encode(), call.now - LONGEST_TOKEN - OUT_OF_ORDER

    async def fetch() -> list[AuditRow]:
        nonlocal following
        rows, following = await log.search([spelt], before=before, limit=PAGE)
        return rows

    while True:
        for number, members in await call.context.reads.each(fetch, lambda row: (row.number, members_of(row))):
            if members.get("token") == jti:
                return number, members
        if following is None or instant(following, now=call.now) < since:
            return None
        before = following.number + 1


@TOKENS("GET /revocations", Role.VIEWER, Reach.TEAMS, answers=models.page(documents.Revocation), is_list=True)
async def list_revocations(call: Call, limit: Limit = 100, cursor: CursorText = None) -> Any:
    """List the revocations in force, the newest first."""

    async def fetch(place: str, limit: int) -> list[Revocation]:
        after = Revocation(*json.loads(place)) if place else None
        return await call.context.store.revocations.list(call.now, after=after, limit=limit)

    source = Source.paged(fetch, _place, lambda row: [documents.Revocation.of(row)])
    return await lists.answer(call, limit, cursor, source)


@TOKENS("POST /revocations", Role.OPERATOR, Reach.TEAMS, answers=documents.Revocation, status=201)
async def revoke(call: Call, wanted: RevocationNew) -> Any:
    """Revoke tokens: one (`jti`), a `family` of refresh tokens, or all until now of a client, a key, and so on.

    `before` spares access tokens that were issued later; refresh tokens of the same reach end all the same.
    """
    ended = Revocation(wanted.kind, _name(wanted), _instant(wanted, call.now), call.now + LONGEST_TOKEN)
    if call.who.limit is not None and wanted.kind in _OF_TOKENS:
        await _find_own(call, wanted)
    shown = documents.Revocation.of(ended)
    subject = f"tokens {ended.kind} {ended.value}".strip()
    record = changes.record(call, subject, outcome="revoked").with_change(None, shown.model_dump(mode="json"))
    family = wanted.value if wanted.kind == "family" else None
    selection = _selection(wanted)
    entry = Entry(record, revocations=(ended,), revoke_family=family, revoke_refresh=selection)
    await Registry(call.whole.tables).commit(entry, partial(_check_reach, call, wanted))
    return shown


def _instant(wanted: RevocationNew, now: int) -> int:
    """Return until when the tokens were issued that end; never later than now, since others would end at birth."""
    if wanted.before is None:
        return now
    if wanted.kind in rule.WHOLE:
        raise ConfigError(f"a revocation of kind {wanted.kind} has no instant: it ends every such token for good")
    return min(wanted.before, now)


_OF_TOKENS = ("jti", "family")  # found by no name of a record
_TABLES: dict[str, Table[Any]] = {"client": CLIENTS, "api": APIS, "trust": TRUSTS, "rule": RULES}
_OF_CLIENTS = {"key": rule.of_key, "task": rule.of_task}


def _name(wanted: RevocationNew) -> str:
    """Return the value of the revocation."""
    if (wanted.kind == "all") == bool(wanted.value):
        raise ConfigError("value names which; for kind all there is none")
    if (wanted.kind in _OF_CLIENTS) != (wanted.client_id is not None):
        raise ConfigError(f"client_id goes with kind {' and '.join(_OF_CLIENTS)}, and says whose it is")
    of_client = _OF_CLIENTS.get(wanted.kind)
    return (of_client(wanted.client_id, wanted.value) if of_client is not None else None) or wanted.value


def _check_reach(call: Call, wanted: RevocationNew) -> Steps[None]:
    """Raise unless the caller may end these tokens; judged in the commit.

    Operators end no owners' tokens by name: of a key for an hour, and then again, they would be shut out. Who must stop
    everything at once can still do that (`all`): it ends what was issued until now. Who is limited to teams ends the
    tokens of their clients, trusts and rules, and those for their APIs.
    """
    if call.who.limit is not None:
        yield from _check_own(call.who.limit, wanted)
    named = wanted.value if wanted.kind == "client" else wanted.client_id
    clients = {named} if named is not None else set[str]()
    if wanted.kind in ("rule", "trust"):
        rules: list[Rule] = yield Rows(RULES)
        clients = {one.client_id for one in rules if wanted.value in (one.path, one.trust)}
    for client_id in clients:
        client: Client | None = yield Get(CLIENTS, client_id)
        owners.check_escalation(call, *([client] if client is not None else []))
    if wanted.kind == "api" and wanted.value == call.context.identifier and call.who.role is not Role.OWNER:
        raise Rejected(Reason.ADMIN_OWNER_ONLY)


def _check_own(teams: frozenset[str], wanted: RevocationNew) -> Steps[None]:
    """Raise unless the tokens are named by what one of these teams owns; see `_find_own` for one token or family."""
    if wanted.kind in _OF_TOKENS:
        return
    if wanted.kind == "all":
        raise Rejected(Reason.ADMIN_TEAM, expected="the tokens of your teams alone")
    kind, name = ("client", wanted.client_id) if wanted.client_id is not None else (wanted.kind, wanted.value)
    subject = yield Get(_TABLES[kind], (name or "").rpartition("/")[2] if kind == "rule" else name or "")
    is_other = isinstance(subject, Rule) and subject.path != name
    if subject is None or is_other or not (yield from TeamLimit(teams).owns(subject)):
        raise NotFound(f"there is no {kind} of this name: see  affiant {kind} list")


async def _find_own(call: Call, wanted: RevocationNew) -> None:
    """Raise NotFound unless the one token, or the family, is of a client of the caller's teams."""
    if wanted.kind == "jti":
        await find_token(call, wanted.value)
        return
    after = b""
    while page := await call.context.store.refresh_tokens.list(after=after, limit=PAGE):
        if any(token.family == wanted.value for token in page):
            return
        after = page[-1].digest
    raise NotFound("there is no family of refresh tokens of this name")


def _selection(wanted: RevocationNew) -> RefreshSelection | None:
    selections = {
        "all": RefreshSelection(),
        "client": RefreshSelection(client_id=wanted.value),
        "key": RefreshSelection(client_id=wanted.client_id, key_thumbprint=wanted.value),
        "api": RefreshSelection(resource=wanted.value),
    }
    return selections.get(wanted.kind)


def _is_live(token: RefreshToken, now: int) -> bool:
    ends = min(token.expires_at, token.idle_expires_at)
    return token.revoked_at is None and token.spent_at is None and now < ends


def _refresh_token(token: RefreshToken) -> documents.RefreshToken:
    return documents.RefreshToken(
        family=token.family,
        client_id=token.client_id,
        scope=list(token.scope),
        resource=token.resource.split(),
        issued_at=token.issued_at,
        idle_expires_at=token.idle_expires_at,
        expires_at=token.expires_at,
    )


def _claims(jti: str, members: dict[str, Any]) -> dict[str, Any]:
    """Return the claims by which a revocation finds a token, of its record."""
    claims = {"jti": jti, "client_id": members["client_id"], "aud": (members.get("resource") or "").split()}
    claims |= {"client_key": members.get("thumbprint"), "iat": int(members["at"])}
    return claims | {"rule": members.get("rule"), "task": members.get("task")}


async def _is_over(call: Call, claims: dict[str, Any]) -> bool:
    """Whether introspection would call the token inactive: revoked, or without its client, API or key (RFC 7662)."""
    store = call.whole
    if await active.is_revoked(claims, store.revocations):
        return True
    client = await store.clients.find(claims["client_id"])
    apis = [api for name in claims["aud"] if (api := await store.apis.find(name)) is not None]
    return client is None or not client.enabled or not apis or await _lost_its_key(call, apis[0], claims["iat"])


async def _lost_its_key(call: Call, api: Api, issued_at: int) -> bool:
    """Whether the key that signed at that time was removed since."""
    line = calendar.of_line(await call.context.store.signing_keys.list(), api.signing_alg or "")
    then = [
        key
        for key in line
        if (key.active_at or key.created_at) <= issued_at and (key.removed_at is None or key.removed_at >= issued_at)
    ]
    signer = max(then, key=lambda key: key.active_at, default=None)
    return signer is not None and calendar.is_removed(signer, call.now)


@INITIAL(
    "GET /initial-access-tokens",
    Role.VIEWER,
    Reach.TEAMS,
    answers=models.page(documents.InitialAccessToken),
    is_list=True,
)
async def list_initial_access_tokens(call: Call, limit: Limit = 100, cursor: CursorText = None) -> Any:
    """List the initial access tokens, the newest first, expired and used ones included."""
    source = Source.of(await call.context.store.initial_access_tokens.list(), documents.InitialAccessToken.of)
    return await lists.answer(call, limit, cursor, source)


@INITIAL(
    "POST /initial-access-tokens",
    Role.OPERATOR,
    Reach.TEAMS,
    answers=documents.IssuedInitialAccessToken,
    status=201,
    refuses=TAKEN,
)
async def issue_initial_access_token(call: Call, wanted: InitialAccessTokenNew) -> Any:
    """Issue a token; its text is in this answer, and in no later one."""
    # Attack: a client registers itself for the admin API.
    if set(SCOPES) & set(wanted.scope) or call.context.identifier in wanted.resources:
        raise Rejected(Reason.ADMIN_OWNER_ONLY, expected="no client registers itself for the admin API")
    token, text = await initial_tokens.issue(
        call.context.store,
        call.context.master_key,
        scope=tuple(wanted.scope),
        resources=tuple(wanted.resources),
        types=tuple(wanted.authorization_details_types),
        lifetime_seconds=wanted.lifetime_seconds,
        uses=wanted.uses,
        id=wanted.id,
        team=wanted.team,
        now=call.now,
        audit=_audit_initial(call),
    )
    shown = documents.InitialAccessToken.of(token)
    return documents.IssuedInitialAccessToken(**shown.model_dump(), initial_access_token=text)


@INITIAL("DELETE /initial-access-tokens/{id}", Role.OPERATOR, Reach.TEAMS, status=204, refuses=UNKNOWN)
async def revoke_initial_access_token(call: Call, id: InitialId) -> None:  # noqa: A002 - its name
    """Revoke the token; clients that registered with it stay."""
    if not any(token.id == id for token in await call.context.store.initial_access_tokens.list()):
        raise NotFound("there is no initial access token of this id")
    await call.context.store.initial_access_tokens.remove(id, audit=_audit_initial(call))


def _audit_initial(call: Call) -> Any:
    def entries(before: Any, after: Any) -> Any:
        subject = f"initial access token {(before or after).id}"
        return changes.audit(call, subject, documents.InitialAccessToken.of)(before, after)

    return entries
