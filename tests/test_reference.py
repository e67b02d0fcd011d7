"""docs/reference says what the code does: every route, parameter, member, claim, setting and command, and no other."""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import httpx2
import msgspec
import pytest
from reference import cli, conformance, endpoints, running
from reference.pages import FOLDER, PAGES
from tests.attacks import test_reasons as reached
from tests.rfc.conftest import API
from tests.rfc.conftest import running as serving

from affiant.cli.main import affiant
from affiant.errors.reasons import Reason
from affiant.oauth.access_token import AccessTokenClaims
from affiant.server.published import descriptions as published
from affiant.server.registration import descriptions as registering
from affiant.server.registration import initial_tokens, metadata
from affiant.server.request.description import Member
from affiant.server.settings import Settings
from affiant.server.token import descriptions as token
from affiant.storage.entries import AuditRecord
from affiant.storage.memory import MemoryStore
from affiant.testing import ISSUER, KEY, NOW, Server

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "affiant"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
NOT_READ = {"token_type_hint"}  # and the reference says so
# Where a captured request is looked at, or that of the admin API, which has its OpenAPI, or a form of the console.
ELSEWHERE = ("server/explain", "server/admin", "server/console", "client", "resource", "cli")


def names(members: Iterable[Member]) -> set[str]:
    return {member.name for member in members}


@cache
def mounted() -> dict[str, Any]:
    return dict(endpoints.mounted())


@pytest.mark.parametrize("name", PAGES)
def test_page_is_what_is_generated(name: str) -> None:
    assert (FOLDER / f"{name}.md").read_text("utf-8") == PAGES[name](), "run: python -m reference"


async def test_methods_are_those_that_are_taken() -> None:
    """Asked of the running server, path by path."""
    built = running.server()
    transport = httpx2.ASGITransport(app=built)
    async with built.router.lifespan_context(built), httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        for path, described in mounted().items():
            for method in METHODS:
                reply = await http.request(method, path.replace("{", "").replace("}", ""))
                assert (reply.status_code == 405) == (method not in described.methods), (method, path, reply.text)


def test_published_pages_are_all_there() -> None:
    assert {path for path in mounted() if path in published.BY_PATH} == set(published.BY_PATH)


class Reads(ast.NodeVisitor):
    """What a module reads of a request, by its place."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.found: set[tuple[str, str]] = set()
        self.named_elsewhere: set[str] = set()
        self.functions: list[str] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.functions.append(node.name)
        self.generic_visit(node)
        self.functions.pop()

    def visit_Call(self, node: ast.Call) -> None:
        match node:
            case ast.Call(func=ast.Attribute(ast.Name("form"), "get" | "all"), args=[name, *_]):
                self.note("form", name)
            case ast.Call(args=[ast.Name("form"), name]) if not isinstance(name, ast.Attribute | ast.Call):
                self.note_where_constant(name)
            case ast.Call(func=ast.Attribute(ast.Attribute(attr="form"), "get" | "all"), args=[name, *_]):
                self.note("form", name)
            case ast.Call(
                func=ast.Name("header") | ast.Attribute(attr="header"),
                args=[ast.Name("scope") | ast.Attribute(attr="scope"), name],
            ):
                self.note("header", name)
            case ast.Call(func=ast.Attribute(ast.Name("sent"), "header"), args=[name]):
                self.note("header", name)
            case ast.Call(func=ast.Attribute(ast.Attribute(attr="headers"), "get"), args=[name, *_]):
                self.note("header", name)
            case ast.Call(func=ast.Attribute(ast.Attribute(attr="query_params"), "get"), args=[name, *_]):
                self.note("query", name)
            case _:
                pass
        self.generic_visit(node)

    def note_where_constant(self, name: ast.expr) -> None:
        if isinstance(name, ast.Constant):
            self.note("form", name)

    def note(self, place: str, name: ast.expr) -> None:
        match name:
            case ast.Constant(str(value)):
                self.found.add((place, value.lower() if place == "header" else value))
            case ast.Constant(bytes(value)):
                self.found.add((place, value.decode().lower()))
            case ast.Attribute(ast.Name(module), constant):
                known = getattr(import_module(self.module), module)
                self.found.add((place, getattr(known, constant)))
            case _:
                self.named_elsewhere.add(self.functions[-1])


def reads() -> Iterator[Reads]:
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).with_suffix("").as_posix()
        if not place.startswith(ELSEWHERE):
            found = Reads(f"affiant.{place.replace('/', '.').removesuffix('.__init__')}")
            found.visit(ast.parse(path.read_text("utf-8")))
            yield found


def test_parameters_are_those_that_are_read() -> None:
    """A parameter or header that is read and not described fails here, and one that is not read any more."""
    every = [parameter for described in mounted().values() for parameter in described.parameters]
    told = {(p.place, p.name.lower() if p.place == "header" else p.name) for p in every}
    all_reads = list(reads())
    read = set[tuple[str, str]]().union(*(one.found for one in all_reads))
    # The two that are given the name of a parameter; whoever calls them is found by it. The third looks whether there
    # is a body, by headers that HTTP describes.
    elsewhere = set[str]().union(*(one.named_elsewhere for one in all_reads))
    assert elsewhere == {"required", "_seconds", "_has_content"}
    read |= {("header", "client-cert")}  # by oauth/binding/mtls.py, for guards too
    wanted = {one for one in told if one[0] in ("form", "query", "header") and one[1] not in NOT_READ}
    assert read == wanted


def test_server_metadata_are_those_of_the_server() -> None:
    assert names(published.METADATA) == running.metadata().keys()


def test_client_metadata_are_those_that_are_read() -> None:
    assert names(registering.METADATA) == metadata.MEMBERS


def test_claims_are_those_of_a_token_with_everything() -> None:
    claims = AccessTokenClaims(
        iss=ISSUER, sub="c1", client_id="c1", aud=API, exp=NOW, iat=NOW, jti="j", scope="read", client_key="k",
        authorization_details=({"type": "payment"},), cnf={"jkt": "k"}, rule="t/r", src={"iss": "i"}, act={"sub": "a"},
        sub_profile="service", parents=({"jti": "p"},), task="t",
    )  # fmt: skip
    assert names(token.ACCESS_TOKEN) == msgspec.to_builtins(claims).keys()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is seen at once."""


@pytest.mark.usefixtures("at_once")
async def test_token_answer_and_introspection_have_what_is_told() -> None:
    async with serving(MemoryStore()) as server:
        grants = ("client_credentials", "refresh_token")
        await server.add_client("c1", grant_types=grants)
        await server.add_client("asker", introspects=(API,), scope=())
        answer = await server.token(scope="read")
        assert names(token.TOKEN.answers) - {"authorization_details", "issued_token_type"} == answer.keys()
        assertion = server.assertion("asker")
        form = server.form(assertion, token=answer["access_token"])
        told = (await server.http.post("/introspect", data=form)).json()
        exchanged = {"rule", "src", "act", "sub_profile", "parents", "task"}
        absent = {"nbf", "cnf", "authorization_details"} | exchanged
        assert names(token.INTROSPECTION.answers) - absent == told.keys()
        gone = server.form(server.assertion("asker"), token="x")
        assert (await server.http.post("/introspect", data=gone)).json() == {"active": False}


@pytest.mark.usefixtures("at_once")
async def test_registration_answers_what_is_told() -> None:
    async with serving(MemoryStore()) as server:
        members = await registered(
            server, token_endpoint_auth_method="private_key_jwt", jwks={"keys": [KEY.public().to_jwk(), {"kty": "?"}]}
        )
        members |= await registered(server)  # the answers of two kinds of client have all
        known = names(registering.REGISTER.answers) - {"..."} | names(registering.METADATA)
        assert members.keys() <= known
        assert names(registering.REGISTER.answers) - {"..."} <= members.keys()


async def registered(server: Server, **sent: Any) -> dict[str, Any]:
    _, text = await initial_tokens.issue(
        server.store, server.master_key, scope=("read",), resources=(API,), lifetime_seconds=60, uses=1, now=NOW
    )
    reply = await server.http.post("/register", json=sent, headers={"authorization": f"Bearer {text}"})
    assert reply.status_code == 201, reply.text
    members: dict[str, Any] = reply.json()
    return members


@pytest.mark.usefixtures("at_once")
async def test_key_answer_has_what_is_told() -> None:
    async with serving(MemoryStore()) as server:
        await server.add_client("c1")
        reply = await server.http.post("/client-keys", data=server.form(action="list"))
        assert reply.json().keys() == names(registering.CLIENT_KEYS.answers) - {"jwks_left_out"}
        meaning = next(one.meaning for one in registering.CLIENT_KEYS.answers if one.name == "keys")
        known = set(re.findall(r"`([a-z_]+)`", meaning))
        assert known - {"safe_to_complete", "why"} == reply.json()["keys"][0].keys()


def test_reasons_are_told_by_somebody() -> None:
    """By an endpoint, where they are not those of an API, of the admin API or of the console; and none names one that does not exist."""
    told = {reason for described in mounted().values() for reason in endpoints.reasons(described.refuses)}
    others = {
        reason
        for reason in Reason
        if reason.code.startswith(("token.", "admin.", "console.")) or reason.code == "dpop.token_hash"
    }
    assert told >= set(Reason) - others
    for described in mounted().values():
        for code in described.refuses:
            assert endpoints.reasons((code,)), code


@pytest.mark.parametrize("reason", reached.ELSEWHERE | reached.PLAIN, ids=lambda reason: reason.code)
def test_reason_is_told_where_it_is_reached(reason: Reason) -> None:
    path = (reached.ELSEWHERE | reached.PLAIN)[reason].path
    described = mounted().get(path) or mounted()["/register/{client_id}"]
    assert reason in endpoints.reasons(described.refuses), path


def test_audit_record_has_every_member_in_its_order() -> None:
    table = (
        (FOLDER / "reference" / "audit.md")
        .read_text("utf-8")
        .partition("## A record\n")[2]
        .partition("\n\n| `endpoint` | |")[0]
    )
    first = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert [name for cell in first for name in re.findall(r"`(\w+)`", cell)] == list(AuditRecord.__struct_fields__)


def test_settings_are_all_there() -> None:
    page = PAGES["reference/settings"]()
    assert re.findall(r"^\| `([a-z0-9_]+)` \|", page, re.MULTILINE) == list(Settings.model_fields)
    assert all(field.description for field in Settings.model_fields.values())
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and re.fullmatch(r"AFFIANT_[A-Z0-9_]+", text):
                assert f"`{text}`" in page, (path, text)


def test_commands_say_what_they_do() -> None:
    for context, command in cli.commands():
        assert command.help, context.command_path
        for parameter in command.params:
            wanted = parameter.param_type_name == "option"
            assert not wanted or getattr(parameter, "help", None), (context.command_path, parameter.name)


def test_admin_routes_are_all_there() -> None:
    from affiant.server.admin.app import OPERATIONS

    page = PAGES["reference/admin-api"]()
    found = re.findall(r"^## `([A-Z]+) (\S+)`$", page, re.MULTILINE)
    assert sorted(found) == sorted((one.method, one.path.replace(":path", "")) for one in OPERATIONS)


def test_index_has_every_page() -> None:
    """docs/README.md links every page, and no link of the README or of a page leads nowhere."""
    pages = {path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*.md")}
    links = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
    assert pages <= set(links.findall((FOLDER / "README.md").read_text("utf-8")))
    for path in (FOLDER.parent / "README.md", *FOLDER.rglob("*.md")):
        for link in links.findall(path.read_text("utf-8")):
            assert (path.parent / link).exists(), (path, link)


def test_threat_model_has_every_attack() -> None:
    """Each attack that a test is marked with is described, and each that has no test is listed as such."""
    tested = {mark[1] for mark in conformance.find() if mark[0] == "attack"}
    assert tested <= set(conformance.attacks())
    assert set(conformance.attacks()) - tested == conformance.elsewhere().keys()


def test_the_commands_in_the_fixes_of_reasons_exist() -> None:
    """Each `affiant ...` in a fix is a command of this version, with the options that it names."""
    found = [words.split() for reason in Reason for words in re.findall(r"affiant ([a-z][^.:,;)]*)", reason.value.fix)]
    assert ["trust", "enable", "NAME"] in found
    for words in found:
        command: click.Command = affiant
        for word in words:
            if isinstance(command, click.Group):
                known = command.get_command(click.Context(command), word)
                assert known is not None, words
                command = known
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= options, words
