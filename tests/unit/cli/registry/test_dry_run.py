"""Plan, schema and apply refuse the same files, and a dry run changes nothing."""

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.admin import ADMIN, ISSUER, asking, make_gate, member, open_api

from affiant.cli.connection.admin import Admin
from affiant.cli.connection.local import call
from affiant.cli.registry.manifest import commands, dry_run, plan, registry_file
from affiant.cli.registry.manifest.registry_file import Desired
from affiant.errors import ConfigError, Error, Refused
from affiant.jose import keys
from affiant.server.admin.roles import Principal, Role
from affiant.storage.memory import MemoryStore
from affiant.storage.records import ClaimCondition, Rule, Trust

KEY = keys.generate("ES256").public()
JWKS = {"keys": [KEY.to_jwk()]}
API = "https://orders.example"

_SCHEMA = jsonschema.Draft202012Validator(registry_file.schema())
_NAMES = st.sampled_from(["a", "b.c", "urn:app:two", "..", "x" * 64, "x" * 300, "é", 'say "x"', "owner"])
_SCOPES = st.lists(st.sampled_from(["read", 'wr"ite', "x" * 257, "admin.owner", "admin.viewer"]), max_size=2)
_APIS = st.lists(st.sampled_from([API, ADMIN, "nowhere", "urn:x", "https://x#y"]), max_size=2)
_CLIENTS = st.fixed_dictionaries(
    {"client_id": _NAMES},
    optional={
        "client_name": st.sampled_from(["Billing", "x" * 101, "\x07"]),
        "token_endpoint_auth_method": st.sampled_from(
            ["private_key_jwt", "client_secret_basic", "client_secret_jwt", "tls_client_auth", "none"]
        ),
        "token_endpoint_auth_signing_alg": st.sampled_from(["ES256", "HS256", "RS256", "none"]),
        "jwks": st.just(JWKS),
        "jwks_uri": st.sampled_from(["https://one.example/j", "http://one.example/j", "https://one.example:22/j"]),
        "scope": _SCOPES,
        "resources": _APIS,
        "grant_types": st.lists(st.sampled_from(["client_credentials", "refresh_token", "password"]), min_size=1),
        "introspects": _APIS,
        "tls_client_auth_san_dns": st.sampled_from(["one.example", "not a name"]),
        "tls_client_auth_subject_dn": st.sampled_from(["CN=one", "nonsense"]),
        "profile": st.sampled_from(["none", "fapi", "guide", "fips"]),
        "audience_policy": st.sampled_from(["strict", "legacy"]),
        "observe": st.lists(st.sampled_from(["typ"]), max_size=1),
        "authorization_details_types": st.lists(st.sampled_from(["payment", "a b"]), max_size=1),
        "access_token_lifetime": st.sampled_from([0, 5, 300, 10**6]),
        "subject_policy": st.sampled_from(["strict", "absent"]),
        "enabled": st.booleans(),
    },
)
_API_ENTRIES = st.fixed_dictionaries(
    {"identifier": st.sampled_from([API, ADMIN, "nowhere", "urn:x"])},
    optional={
        "name": st.sampled_from(["orders", "x" * 101, ""]),
        "scopes": _SCOPES,
        "is_default": st.just(True),
        "signing_alg": st.sampled_from(["ES256", "default", "HS256"]),
        "access_token_lifetime": st.sampled_from([0, 5, 300]),
        "access_token_typ": st.sampled_from(["at+jwt", "JWT"]),
    },
)


_TRUSTS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["ci", "other"]),
        "issuer": st.sampled_from(["https://ci.example", "https://token.actions.githubusercontent.com", "no-url"]),
    },
    optional={
        "preset": st.sampled_from(["generic", "github"]),
        "jwks": st.just(JWKS),
        "jwks_uri": st.just("https://one.example/j"),
        "ca": st.just(""),
        "audiences": st.sampled_from([[], ["https://as.example"]]),
        "replay": st.sampled_from(["once", "reused"]),
        "max_lifetime": st.sampled_from([0, 600, 86_400]),
        "refuses": st.sampled_from([{}, {"event_name": ["pull_request"]}]),
        "enabled": st.booleans(),
    },
)
_RULES = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["deploy", "other"]),
        "trust": st.sampled_from(["ci", "ci", "other"]),
        "client_id": st.sampled_from(["b.c", "b.c", "a", "owner"]),
        "conditions": st.sampled_from([{}, {"id": ["42"]}, {"id": ["43"]}, {"sub": ["a", True, 1]}]),
    },
    optional={"scope": st.sampled_from([[], ["read"]]), "enabled": st.booleans()},
)
_PLAIN = st.fixed_dictionaries(
    {"client_id": st.sampled_from(["a", "b.c"])},
    optional={
        "token_endpoint_auth_method": st.sampled_from(["client_secret_basic", "federated_jwt"]),
        "profile": st.sampled_from(["none", "fapi"]),
        "scope": st.sampled_from([["read"], ["admin.viewer"]]),
        "enabled": st.booleans(),
    },
)


def _id(entry: dict[str, Any]) -> str:
    return str(
        entry.get("name") if "issuer" in entry or "trust" in entry else entry.get("client_id") or entry["identifier"]
    )


_FILES = st.fixed_dictionaries(
    {
        "apis": st.lists(_API_ENTRIES, max_size=2, unique_by=_id),
        "clients": st.lists(_CLIENTS, max_size=3, unique_by=_id),
    }
)
_FEDERATED = st.fixed_dictionaries(
    {
        "clients": st.lists(_PLAIN, max_size=1),
        "trusts": st.lists(_TRUSTS, max_size=2, unique_by=_id),
        "rules": st.lists(_RULES, max_size=2, unique_by=_id),
    }
)


async def _registry(who: Principal) -> tuple[MemoryStore, Admin]:
    store = MemoryStore()
    await open_api(store)
    await store.clients.add(member("owner"))
    await store.clients.add(member("b.c", Role.VIEWER))
    await store.trusts.add(Trust("ci", "https://ci.example"))
    await store.rules.add(Rule("deploy", "ci", "b.c", (ClaimCondition("id", ("42",)),)))
    return store, Admin(partial(call, make_gate(store, who)), ISSUER)


async def _plan(api: Admin, wanted: Desired) -> list[plan.Step]:
    return plan.build(wanted, await commands.read_all(api))


async def _check(api: Admin, wanted: Desired) -> Role:
    return await dry_run.check(api, [step.as_change() for step in await _plan(api, wanted)])


async def _refuses(api: Admin, wanted: Desired) -> bool:
    try:
        await _check(api, wanted)
    except ConfigError:
        return True
    return False


async def _fails(api: Admin, wanted: Desired, folder: Path) -> bool:
    try:
        await commands.take_all(api, await _plan(api, wanted), folder, done=lambda _: None)
    except Error:
        return True
    return False


@pytest.mark.parametrize("files", [_FILES, _FEDERATED], ids=["clients", "trusts"])
@pytest.mark.parametrize("who", [Principal("owner", Role.OWNER), Principal("cli", Role.OWNER, is_local=True)])
def test_plan_refuses_what_apply_would(who: Principal, files: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """For any file, the dry run refuses if and only if a change would be refused, and it changes nothing."""

    @settings(max_examples=150, deadline=None)
    @given(files)
    def check(document: dict[str, Any]) -> None:
        try:
            wanted = Desired.model_validate(document)
        except ValueError:
            return

        async def both() -> None:
            store, api = await _registry(who)
            version = await store.version()
            refused = await _refuses(api, wanted)
            assert await store.version() == version
            assert await _fails(api, wanted, tmp_path_factory.mktemp("kept")) == refused

        asyncio.run(both())

    check()


@settings(max_examples=100, deadline=None)
@given(_FILES | _FEDERATED)
def test_the_schema_refuses_nothing_that_can_be_registered(document: dict[str, Any]) -> None:
    if _SCHEMA.is_valid(document):
        return

    async def refused() -> bool:
        _, api = await _registry(Principal("owner", Role.OWNER))
        try:
            return await _refuses(api, Desired.model_validate(document))
        except (ValueError, ConfigError):
            return True

    assert asyncio.run(refused())


@pytest.mark.parametrize(
    ("member_", "value"),
    [
        *(("client_id", value) for value in ("..", "é", "", "a\u0000b")),
        *(("scope", [value]) for value in ('say "x"', "a b", "x" * 257, "")),
        *(("resources", [value]) for value in ("nowhere", "https://x#y")),
        *(("jwks_uri", value) for value in ("http://one.example/j", "https://a@one.example/j")),
        *(("grant_types", value) for value in ([], ["password"])),
        ("scope", ["x"] * 65),
        ("token_endpoint_auth_method", "none"),
        ("profile", "fips"),
        ("client_name", "\x07"),
        *(("access_token_lifetime", value) for value in (5, 10**6, "300")),
    ],
)
def test_schema_rejects_what_the_patterns_reject(member_: str, value: Any) -> None:
    """It is made from the rule itself, so the two cannot differ."""
    assert _SCHEMA.is_valid({"clients": [{"client_id": "a"}]})
    assert not _SCHEMA.is_valid({"clients": [{"client_id": "a", member_: value}]})


async def test_two_changes_that_remove_the_last_owners_are_refused() -> None:
    store, api = await _registry(Principal("owner", Role.OWNER))
    await store.clients.add(member("second"))
    for left in ({"enabled": True}, {"enabled": False}):
        file = {"clients": [{"client_id": "owner", "enabled": False}, {"client_id": "second", **left}]}
        refused = await _refuses(api, Desired.model_validate(file))
        assert refused == (not left["enabled"])


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_too_low_a_role_is_refused_before_the_first_change(role: Role) -> None:
    """A viewer may plan: a plan refuses the file, not the caller."""
    _, api = await _registry(Principal("watcher", role))
    update = Desired.model_validate({"clients": [{"client_id": "b.c", "scope": ["read"]}]})
    needs = await _check(api, update)
    assert needs is Role.OWNER, "the client has a part in the admin API"
    with pytest.raises(Refused, match=f"this needs owner, not {role.value}"):
        await dry_run.check_role(api, needs)


async def test_many_changes_are_judged_in_several_requests() -> None:
    """400 clients with keys exceed one body of the admin API."""
    _, api = await _registry(Principal("owner", Role.OWNER))
    many = [{"client_id": f"c{number}", "jwks": JWKS} for number in range(400)]
    wanted = Desired.model_validate({"clients": [*many, {"client_id": "none"}]})
    assert len(json.dumps(many)) > 1 << 16
    with pytest.raises(ConfigError, match="1 of 401 changes"):
        await _check(api, wanted)


async def test_change_that_no_route_accepts_is_refused() -> None:
    store, _ = await _registry(Principal("owner", Role.OWNER))
    async with asking(store, Principal("watcher", Role.VIEWER)) as http:
        changes = [
            {"action": "create", "kind": "client", "name": "a", "members": {"client_id": "a", "secret": "x"}},
            {"action": "create", "kind": "client", "name": "a", "members": {"client_id": "b", "jwks": JWKS}},
            {"action": "create", "kind": "client", "name": "owner", "members": {"client_id": "owner", "jwks": JWKS}},
            {"action": "update", "kind": "client", "name": "nobody", "members": {}},
            {"action": "remove", "kind": "api", "name": ADMIN},
        ]
        answer = await http.post("/dry-run", json={"changes": changes})
    reasons = [refused["reason"] for refused in answer.json()["refused"]]
    assert reasons == ["admin.invalid", "admin.exists", "admin.exists", "admin.not_found", "admin.last_owner"]
