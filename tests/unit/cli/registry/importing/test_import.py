"""`affiant client import`, from an export to tokens; the exports have the forms of their makers."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from affiant.cli.main import main

Run = Callable[..., tuple[int, Any]]

EXPORTS = Path(__file__).parent / "exports"
PAGE = Path(__file__).parents[5] / "docs" / "how-to" / "import.md"
BILLING = "urn:shop:billing"


@pytest.fixture
def run(run_json: Run) -> Run:
    """Run a command next to the exports, on data with one API."""
    for path in EXPORTS.iterdir():
        Path(path.name).symlink_to(path)
    assert run_json("api", "new", "default", "--identifier", "https://default.example")[0] == 0
    return run_json


def secrets_of(name: str) -> list[str]:
    """Every secret that an export has."""
    return re.findall(r'"(?:client_)?secret": "([^"]+)"', (EXPORTS / name).read_text())


def results(found: Any) -> dict[str, str]:
    return {one["client_id"]: one["result"] for one in found["clients"]}


def test_keycloak(run: Run) -> None:
    code, error = run("client", "import", "keycloak.json", "--yes", "--credentials-to", ".")
    assert (code, [note.partition(":")[0] for note in error["notes"]]) == (
        8,
        ["weak", "ancient", "pattern", "federated"],
    )
    assert run("client", "list")[1] == []
    words = ("client", "import", "keycloak.json", "--skip-refused", "--with-apis", "--api", "ledger-api=urn:ledger-api")
    code, planned = run(*words)
    assert (code, planned["in_sync"], run("client", "list")[1]) == (6, False, [])
    code, done = run(*words, "--yes", "--credentials-to", ".")
    assert (code, done["credentials"]) == (0, ["masked.affiant.json"])
    assert results(done) == {
        "account": "skipped", "orders-api": "skipped", "web-shop": "skipped", BILLING: "changed", "portal": "changed",
        "masked": "changed", "weak": "refused", "hmac": "taken", "ledger": "changed", "hosted": "taken",
        "listed": "taken", "ancient": "refused", "meshed": "taken", "pattern": "refused", "federated": "refused",
    }  # fmt: skip
    found = {one["client_id"]: one for one in run("client", "list")[1]}
    assert (found[BILLING]["scope"], found[BILLING]["resources"]) == (["orders.read"], ["https://orders.example"])
    assert found["ledger"]["resources"] == ["urn:ledger-api"]
    assert [key["alg"] or key["kty"] for key in found["ledger"]["keys"]] in (["RS256"], ["RSA"])
    assert found["hosted"]["jwks_uri"] == "https://keys.example/jwks.json"
    assert found["listed"]["enabled"] is False
    assert found["meshed"]["tls_client_auth_subject_dn"] == "CN=meshed,O=Shop"
    assert {one["identifier"]: one["scopes"] for one in run("api", "list")[1]} == {
        "https://default.example": [], "https://orders.example": ["orders.read", "orders.write"], "urn:ledger-api": [],
    }  # fmt: skip
    code, again = run(*words)
    assert (code, again["steps"]) == (0, [])


def test_hydra(run: Run) -> None:
    code, error = run("client", "import", "hydra.json", "--yes")
    assert code == 8
    assert "pass --credentials-to DIR" in error["message"]
    code, done = run("client", "import", "hydra.json", "--yes", "--credentials-to", ".")
    assert code == 0
    assert {one["client_id"]: one["keeps_secret"] for one in done["clients"]} == {
        "6b2a3c1e-0f6c-4d3c-8a0b-3f1f2f1f9a10": False, "posted": True, "hashed": False, "signer": None, "remote": None,
        "spa": None, "public": None,
    }  # fmt: skip
    assert done["missing_apis"] == [{"identifier": "https://orders.example", "clients": 5}]
    assert run("client", "show", "remote")[1]["scope"] == ["orders.read"]


def test_page_of_a_list_of_hydra_is_named(run: Run) -> None:
    page = json.loads((EXPORTS / "hydra.json").read_text()) | {"is_last_page": False}
    Path("page.json").write_text(json.dumps(page))
    assert "--page-size" in run("client", "import", "page.json")[1]["notes"][0]


def test_auth0(run: Run) -> None:
    code, done = run("client", "import", "auth0.json", "--skip-refused", "--with-apis", "--yes")
    billing, signer = "Zs0bSVgXnTNmr7wAbqP2JtdVnS1n4o9c", "k2J8sXo5tq7YwVbZ1nMgRf4eUa6LpC3d"
    assert (code, {name: one for name, one in results(done).items() if one != "skipped"}) == (
        0,
        {billing: "changed", signer: "changed", "m7Pz2LqYc9Xv4Wb1Ds6Ko3RtGn8HfE5a": "refused"},
    )
    found = {one["client_id"]: one for one in run("client", "list")[1]}
    assert (found[billing]["client_name"], found[billing]["token_endpoint_auth_method"]) == (
        "Billing",
        "client_secret_post",
    )
    assert [key["kid"] for key in found[signer]["keys"]] == ["k1-signer"]
    apis = {one["identifier"]: one["scopes"] for one in run("api", "list")[1]}
    assert apis["https://orders.example"] == ["orders.read", "orders.write", "orders.delete"]


def test_folder_of_auth0s_deploy_cli(run: Run) -> None:
    code, error = run("client", "import", "auth0")
    assert (code, error["notes"]) == (
        8,
        ["Signer: its client_id is not in the export: export with AUTH0_EXPORT_IDENTIFIERS=true"],
    )
    name = "Zs0bSVgXnTNmr7wAbqP2JtdVnS1n4o9c"
    code, done = run("client", "import", "auth0", "--client", name, "--yes", "--credentials-to", ".")
    assert (code, done["credentials"]) == (0, [f"{name}.affiant.json"])
    assert run("client", "show", name)[1]["scope"] == ["orders.read"]


def test_table(run: Run) -> None:
    code, done = run("client", "import", "table.csv", "--skip-refused", "--yes", "--credentials-to", ".")
    assert (code, results(done)["short"], results(done)["legacy@shop"]) == (0, "refused", "taken")
    assert len(run("client", "show", "spiffe://shop/mailer")[1]["keys"]) == 1


def test_file_for_apply(run: Run) -> None:
    """It is as registered, and has no secret; a file that exists is not overwritten."""
    words = ("client", "import", "keycloak.json", "--skip-refused", "--with-apis", "--write", "registry.toml")
    assert run(*words, "--yes", "--credentials-to", ".")[0] == 0
    text = Path("registry.toml").read_text()
    assert not [secret for secret in secrets_of("keycloak.json") if secret in text and secret[0] != "*"]
    assert run("plan", "registry.toml")[0] == 0
    assert "exists already" in run(*words)[1]["message"]


@pytest.mark.parametrize("name", ["keycloak.json", "hydra.json", "auth0.json"])
def test_no_secret_is_printed(run: Run, capsys: pytest.CaptureFixture[str], name: str) -> None:
    run("client", "list")
    for more in ((), ("--json",), ("--yes", "--skip-refused", "--credentials-to", "."), ("--yes", "--skip-refused")):
        with pytest.raises(SystemExit):
            main(["client", "import", name, *more])
        printed = "".join(capsys.readouterr())
        assert printed
        assert not [secret for secret in secrets_of(name) if secret in printed and len(secret.strip("*")) > 1]
    with pytest.raises(SystemExit):
        main(["audit", "show", "-n", "100", "--json"])
    printed = capsys.readouterr().out
    assert not [secret for secret in secrets_of(name) if secret in printed and len(secret.strip("*")) > 1]


def test_registered_client_keeps_its_credentials(run: Run) -> None:
    assert run("client", "new", "portal", "--auth", "client_secret_basic", "--scope", "other")[0] == 0
    (before,) = run("client", "show", "portal")[1]["secrets"]
    words = ("client", "import", "keycloak.json", "--client", "portal")
    code, planned = run(*words)
    assert (code, planned["steps"][0]["action"], planned["clients"][0]["keeps_secret"]) == (6, "update", False)
    assert run(*words, "--yes")[0] == 0
    found = run("client", "show", "portal")[1]
    assert (found["scope"], found["secrets"]) == (["orders.write"], [before])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "of no known source"),
        ("null", "no export"),
        ("{", "is not JSON"),
        ('{"clients": {"a": 1}}', "of no known source"),
        ('{"clients": [{"clientId": "a", "serviceAccountsEnabled": true, "attributes": []}]}', "attributes is not an"),
        ('{"clients": [{"clientId": 7, "serviceAccountsEnabled": true}]}', "clientId is not a string"),
        ('{"clients": [{"clientId": "a b", "serviceAccountsEnabled": true}]}', "client_id: "),
        ('[{"client_id": "a", "grant_types": ["client_credentials"], "scope": ["r"]}]', "scope is not a string"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_strange_file_is_refused(run: Run, text: str, said: str) -> None:
    Path("strange.json").write_text(text)
    code, error = run("client", "import", "strange.json")
    assert code == 8
    assert said in error["message"] + "".join(error.get("notes", []))


@pytest.mark.parametrize(
    "row", ["client_id,color\na,red\n", "client_secret\nx\n", "client_id,scope\na\n", 'client_id\n"a\n']
)
def test_strange_table_is_refused(run: Run, row: str) -> None:
    Path("strange.csv").write_text(row)
    assert run("client", "import", "strange.csv")[0] == 8


@pytest.mark.usefixtures("run")
def test_page(capsys: pytest.CaptureFixture[str]) -> None:
    """Each command of the page prints what the page says, beginning with the first line that it shows."""
    Path("realm.json").symlink_to(EXPORTS / "keycloak.json")
    Path("credentials").mkdir()
    (session,) = re.findall(r"<!-- executed -->\n\n```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for part in session.split("$ affiant ")[1:]:
        command, _, expected = part.partition("\n")
        with pytest.raises(SystemExit):
            main(command.split())
        printed = "".join(capsys.readouterr())
        for line in expected.strip().splitlines():
            assert line == "..." or line in printed, printed


def test_a_client_that_is_too_large_or_forges_lines_is_refused_alone(run: Run) -> None:
    given = {"serviceAccountsEnabled": True, "defaultClientScopes": []}
    names = ["large", "forged\nsound: taken", "sound"]
    clients = [{**given, "clientId": name, "secret": "Zq8vKfP2LmWx7RtYbN4cHd5JgT3sUa9E"} for name in names]
    clients[0]["secret"] = "Zq8v" * 30_000
    Path("hostile.json").write_text(json.dumps({"realm": "shop", "clients": clients}))
    code, error = run("client", "import", "hostile.json", "--from", "keycloak", "--yes")
    assert (code, len(error["notes"])) == (8, 2)
    assert error["notes"][0] == "large: its members are larger than 48 KiB"
    assert error["notes"][1].startswith("forged\\u000asound: taken: ")
    assert run("client", "import", "hostile.json", "--from", "keycloak", "--yes", "--skip-refused")[0] == 0
    assert [one["client_id"] for one in run("client", "list")[1]] == ["sound"]
