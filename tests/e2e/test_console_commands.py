"""Every command that the console shows, run as it is printed: it does what the button does.

The button works on one copy of a data folder, and the command, whose words a shell reads, on another. Both audit
records must say the same.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.process import run
from tests.unit.server.console.visits import Visit, done, visit

from affiant.cli.connection.data import with_store
from affiant.jose import keys
from affiant.server.console.actions import ACTIONS
from affiant.storage.entries import AuditRow

KEY = json.dumps(keys.generate("ES256").public().to_jwk())
API = "https://orders.example"
_INSTANT = re.compile(r"\b1[0-9]{9}\b")
_RANDOM = re.compile(r"\b[0-9a-f]{16}\b")  # the id of a secret


class Case(NamedTuple):
    """A press of a button: its action, the form, and the audit record that both must write."""

    action: str
    form: dict[str, str]
    subject: str


# KID, SECRET and so on stand for what the data folder has.
CASES = (
    Case("client.disable", {"client_id": "billing"}, "client billing"),
    Case("client.enable", {"client_id": "stopped"}, "client stopped"),
    Case("client.remove", {"client_id": "billing"}, "client billing"),
    Case(
        "client.change",
        {
            "client_id": "billing",
            "client_name": 'It\'s "billing" $(id)',
            "owner": "-ann",
            "labels": "env=prod x",
            "team": "",
            "observe": "audience jti",
            "audience_policy": "legacy",
            "access_token_lifetime": "300",
            "dpop_bound_access_tokens": "yes",
            "profile": "none",
        },
        "client billing",
    ),
    Case("client.change", {"client_id": "watched", "observe": "", "access_token_lifetime": ""}, "client watched"),
    Case("client.grant", {"client_id": "billing", "scope": "orders.write $(id)", "resources": API}, "client billing"),
    Case("client.grant", {"client_id": "billing", "scope": "", "resources": ""}, "client billing"),
    Case("clients.change", {"client_id": "billing", "do": "label", "label": "env=prod"}, "client billing"),
    Case("client.key.add", {"client_id": "billing", "public_key": KEY}, "client billing"),
    Case("client.key.complete", {"client_id": "rotating", "kid": "OLD", "overlap": "3600"}, "client rotating"),
    Case("client.key.cancel", {"client_id": "rotating", "kid": "NEW"}, "client rotating"),
    Case("client.key.revoke", {"client_id": "rotating", "kid": "OLD"}, "client rotating"),
    Case("client.secret.new", {"client_id": "legacy"}, "client legacy"),
    Case("client.secret.complete", {"client_id": "twofold"}, "client twofold"),
    Case("client.secret.cancel", {"client_id": "twofold"}, "client twofold"),
    Case("client.secret.revoke", {"client_id": "twofold", "id": "SECRET"}, "client twofold"),
    Case(
        "client.register",
        {"client_id": "fresh", "by": "paste", "public_key": KEY, "scope": "orders.read", "owner": "ann"},
        "client fresh",
    ),
    Case("client.register", {"client_id": "-far", "by": "url", "jwks_uri": "https://far.example/jwks"}, "client -far"),
    Case(
        "client.register",
        {"client_id": "cloud", "by": "other", "other_method": "federated_jwt", "labels": "x"},
        "client cloud",
    ),
    Case(
        "setup.client", {"client_id": "first", "jwks": f'{{"keys": [{KEY}]}}', "scope": "orders.read"}, "client first"
    ),
    Case(
        "api.new",
        {"identifier": "https://bills.example", "name": "bills", "scopes": "bills.read", "access_token_lifetime": "60"},
        "api https://bills.example",
    ),
    Case("api.update", {"identifier": API, "scopes": "orders.read", "team": ""}, f"api {API}"),
    Case("api.make-default", {"identifier": "https://other.example"}, "api https://other.example"),
    Case("token.revoke", {"kind": "client", "value": "billing"}, ""),
    Case("token.revoke", {"kind": "all"}, ""),
    Case("token.revoke", {"kind": "api", "value": API, "before": "2026-11-21T08:00Z"}, ""),
    Case("initial-token.new", {"scope": "orders.read", "uses": "2", "days": "3"}, ""),
    Case("trust.update", {"name": "github", "audiences": "https://a.example", "max_lifetime": "600"}, "trust github"),
    Case("trust.disable", {"name": "github"}, "trust github"),
    Case("trust.enable", {"name": "gitlab"}, "trust gitlab"),
    Case("trust.remove", {"name": "github"}, "trust github"),
    Case(
        "rule.add",
        {"name": "second", "trust": "github", "client_id": "deploy", "conditions": "repository_id=9\nref=refs/heads/x"},
        "rule second",
    ),
    Case("rule.update", {"name": "deploy", "scope": "orders.read"}, "rule deploy"),
    Case("rule.disable", {"name": "deploy"}, "rule deploy"),
    Case("rule.enable", {"name": "stopped"}, "rule stopped"),
    Case("rule.remove", {"name": "deploy"}, "rule deploy"),
    Case("signing-key.announce", {}, ""),
    Case("signing-key.rotate", {}, ""),
    Case("user.link", {"user": "bob"}, "sign-in link of bob"),
    Case("user.change", {"user": "bob", "role": "operator"}, "user bob"),
    Case("user.disable", {"user": "bob"}, "user bob"),
    Case("user.enable", {"user": "eve"}, "user eve"),
    Case("user.remove", {"user": "bob"}, "user bob"),
    Case("team.new", {"team": "reports", "contact": "-reports@example.com"}, "team reports"),
    Case("team.new", {"team": "plain"}, "team plain"),
    Case(
        "team.change",
        {"team": "payments", "contact": "$(id)", "resources": API, "scope": "orders.read orders.write"},
        "team payments",
    ),
    Case("team.change", {"team": "payments", "contact": "", "resources": "", "scope": ""}, "team payments"),
    Case("team.remove", {"team": "payments"}, "team payments"),
    Case("mend", {"command": "affiant client update billing --audience legacy"}, "client billing"),
)
# Actions without a case, and why.
ELSEWHERE = {
    "api.remove": "has no command",
    "trust.add": "makes what `affiant trust add` makes, by the same plan: tests/e2e/test_federation_pages.py",
    "user.invite": "is two requests and two lines, of which the first does both",
    "session.end": "names a session that each folder has another of",
    "passkey.remove": "names a passkey, which only a device makes",
    "passkey.rename": "has no command",
    "undo": "is the command of the members that it gives back: client.change",
    "initial-token.revoke": "names a token by an id that each folder has another of",
    "signing-key.remove": "names a key that each folder has another of",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an API and clients in every state that an action needs."""
    made = tmp_path_factory.mktemp("commands")
    (made / "next.jwk").write_text(json.dumps(keys.generate("ES256").public().to_jwk()))
    for line in (
        f"api new orders --identifier {API} --scope orders.read --scope orders.write",
        "api new other --identifier https://other.example --scope other.read",
        "client new billing stopped rotating watched --scope orders.read",
        "client disable stopped",
        "client update watched --observe audience --access-token-lifetime 300",
        "client key add rotating --public-key next.jwk",
        "client new legacy twofold --auth client_secret_basic",
        "client secret new twofold",
        f"team add payments --contact payments@example.com --resource {API} --scope orders.read",
        "console link ann --role owner",
        "console link bob --role viewer",
        "console link eve --role viewer",
        "console user disable eve",
        "client new deploy --auth federated_jwt --scope orders.read",
        "trust add github acme/app --repository-id 123 --branch main --client deploy",
        "trust add github acme/other --repository-id 124 --branch main --client deploy --rule stopped",
        "trust add gitlab acme/app --project-id 5 --branch main --client deploy --rule third",
        "trust disable gitlab",
        "rule disable stopped",
    ):
        found = run(made, *line.split())
        assert found.returncode == 0, found.stderr
    return made


def newest(data: Path, subject: str) -> dict[str, Any]:
    """The newest audit record about this subject, without what differs from run to run."""

    async def read(store: Any, _: object) -> list[AuditRow]:
        return list(await store.audit_log.newest(before=None, limit=20))

    records = [json.loads(row.record) for row in with_store(data, read)]
    found = next(record for record in records if subject in (record.get("subject") or ""))
    kept = {name: found.get(name) for name in ("outcome", "subject", "detail", "before", "after")}
    return {name: _RANDOM.sub("ID", _INSTANT.sub("T", text or "")) for name, text in kept.items()}


def pressed(data: Path, press: Callable[[Visit], Awaitable[Any]]) -> Any:
    """What a visitor of the console of this data does."""

    async def work(store: Any, _: object) -> Any:
        return await press(visit(store))

    return with_store(data, work)


def filled(data: Path, form: dict[str, str]) -> dict[str, str]:
    async def read(store: Any, _: object) -> dict[str, str]:
        rotating, twofold = await store.clients.find("rotating"), await store.clients.find("twofold")
        return {"OLD": rotating.keys[0].kid, "NEW": rotating.keys[1].kid, "SECRET": twofold.secrets[0].id}

    names = with_store(data, read)
    return {name: names.get(value, value) for name, value in form.items()}


def read_by_shell(command: str) -> tuple[list[str], str]:
    """The words of a command and its standard input, as a shell reads the line."""
    script = f'affiant() {{ printf \'%s\\0\' "$#" "$@"; cat; }}\n{command}\n'
    told = subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    count, _, rest = told.stdout.partition("\0")
    *words, given = rest.split("\0")
    assert len(words) == int(count), command
    return words, given


@pytest.mark.parametrize("case", CASES, ids=[f"{case.action}-{place}" for place, case in enumerate(CASES)])
def test_command_does_what_the_button_does(folder: Path, tmp_path: Path, case: Case) -> None:
    of_button, of_command = tmp_path / "button", tmp_path / "command"
    for copy in (of_button, of_command):
        shutil.copytree(folder, copy)
    form = filled(of_button / "affiant-data", case.form)

    async def ask(ann: Visit) -> str:
        page = await ann.ask(case.action, as_command="1", **form)
        assert page.status_code == 200, page.text
        return unescape(re.findall(r"<h3>Command</h3><pre[^>]*>(.*?)</pre>", page.text, re.DOTALL)[0])

    async def press(ann: Visit) -> None:
        page = await ann.act(case.action, **form)
        assert page.status_code == 200 or done(page), page.text

    command = pressed(of_button / "affiant-data", ask)
    pressed(of_button / "affiant-data", press)
    words, given = read_by_shell(command)
    ran = run(of_command, *words, given=given)
    assert ran.returncode == 0, f"{command}\n{ran.stderr}"
    button, of_shell = (newest(one / "affiant-data", case.subject) for one in (of_button, of_command))
    assert of_shell == button, command


def test_every_action_has_a_case() -> None:
    """A new action gets a row in CASES, or a reason in ELSEWHERE."""
    missing = ACTIONS.keys() - {case.action for case in CASES} - ELSEWHERE.keys()
    assert not missing, f"add rows for: {', '.join(sorted(missing))}"
