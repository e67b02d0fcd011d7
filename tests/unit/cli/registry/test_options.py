"""Options of a client and an API for their policies and tokens."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from affiant.cli.main import main
from affiant.cli.registry.api import api
from affiant.cli.registry.client import client
from affiant.client.credentials import file as credentials
from affiant.errors import Error

Run = Callable[..., tuple[int, Any]]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _run(group: click.Group, *words: str) -> dict[str, Any]:
    ran = CliRunner().invoke(group, [*words, "--data", "data", "--json"])
    assert ran.exit_code == 0, (ran.output, ran.exception)
    data: dict[str, Any] = json.loads(ran.stdout)["data"]
    return data


def test_policies_are_given_when_a_client_is_made() -> None:
    made = _run(
        client, "new", "old", "--audience", "legacy", "--subject", "legacy", "--observe", "jti",
        "--access-token-lifetime", "900",
    )  # fmt: skip
    assert (made["audience_policy"], made["subject_policy"], made["lifetime_policy"]) == ("legacy", "legacy", "strict")
    assert (made["observe"], made["access_token_lifetime"]) == (["jti"], 900)
    changed = _run(client, "update", "old", "--audience", "strict", "--access-token-lifetime", "default")
    assert (changed["audience_policy"], changed["access_token_lifetime"]) == ("strict", None)
    refused = CliRunner().invoke(client, ["update", "old", "--access-token-lifetime", "3601", "--data", "data"])
    assert (refused.exit_code, "10<=x<=3600" in refused.output) == (2, True)


def test_several_scopes_in_one_option_are_refused_with_the_way_to_write_them() -> None:
    for group, words in ((client, ["new", "c"]), (api, ["new", "a", "--identifier", "https://a.example"])):
        ran = CliRunner().invoke(group, [*words, "--scope", "orders.read orders.list", "--data", "data"])
        assert (ran.exit_code, ran.stdout) == (2, "")
        assert "write --scope once for each value:  --scope orders.read --scope orders.list" in ran.output


def test_a_client_changes_between_the_methods_of_its_secret() -> None:
    made = _run(client, "new", "pulsar", "--auth", "client_secret_basic")
    changed = _run(client, "update", "pulsar", "--auth", "client_secret_post")
    assert changed["token_endpoint_auth_method"] == "client_secret_post"
    assert changed["secrets"] == made["secrets"]
    refused = CliRunner().invoke(client, ["update", "pulsar", "--auth", "private_key_jwt", "--data", "data"])
    assert isinstance(refused.exception, Error)
    assert "register a second client with --auth private_key_jwt" in str(refused.exception)


def test_untyped_tokens_are_warned_of() -> None:
    words = ["new", "slurm", "--identifier", "https://slurm.example", "--token-typ", "JWT", "--data", "data"]
    ran = CliRunner().invoke(api, words)
    assert (ran.exit_code, "typ JWT" in ran.stdout) == (0, True)
    assert "the guard of affiant refuses them" in ran.stderr
    again = CliRunner().invoke(api, ["update", "slurm", "--token-typ", "at+jwt", "--data", "data"])
    assert (again.exit_code, "JWT" in again.output) == (0, False)


def test_an_algorithm_that_few_verify_is_chosen_with_a_warning() -> None:
    words = ["new", "pq", "--identifier", "urn:pq", "--signing-alg", "ML-DSA-44", "--data", "data"]
    ran = CliRunner().invoke(api, words)
    assert (ran.exit_code, "few libraries verify ML-DSA-44" in ran.stderr) == (0, True)
    again = CliRunner().invoke(api, ["update", "pq", "--signing-alg", "ES256", "--data", "data"])
    assert (again.exit_code, again.stderr) == (0, "")
    assert (
        "ML-DSA-87" in CliRunner().invoke(api, ["update", "pq", "--signing-alg", "ML-DSA-87", "--data", "data"]).stderr
    )


@pytest.mark.parametrize(
    ("name", "example"), [("rabbitmq", "urn:rabbitmq"), ("a/b", "https://api.example"), ("//x", "https://api.example")]
)
def test_unknown_api_is_refused_with_a_suggestion(name: str, example: str) -> None:
    refused = CliRunner().invoke(api, ["new", "rmq", "--identifier", name, "--data", "data"])
    assert str(refused.exception).endswith(f"identifier: must be an absolute URI without a fragment, such as {example}")
    assert _run(api, "new", "rmq", "--identifier", example)["identifier"] == example


def test_lifetime_of_an_api_is_set_and_reset() -> None:
    made = _run(api, "new", "fhir", "--identifier", "https://fhir.example", "--access-token-lifetime", "300")
    assert made["access_token_lifetime"] == 300
    assert _run(api, "update", "fhir", "--scope", "a")["access_token_lifetime"] == 300
    assert _run(api, "update", "fhir", "--access-token-lifetime", "default")["access_token_lifetime"] is None


@pytest.mark.parametrize("name", ["urn:app:billing", "https://client.example/id?v=1&w=2", "a/b"])
def test_a_client_id_of_another_system(name: str, tmp_path: Path) -> None:
    """It is made, shown, changed and removed by its name, and its file stays in this folder."""
    made = _run(client, "new", name)
    path = tmp_path / made["credentials"]
    assert path.parent == tmp_path
    assert credentials.read(path).client_id == name
    assert _run(client, "show", name)["client_id"] == name
    assert _run(client, "update", name, "--scope", "a")["scope"] == ["a"]
    assert _run(client, "remove", name)["done"] == "remove"


@pytest.mark.parametrize("options", [("--grant", "password"), ("--alg", "FOO")])
def test_the_server_judges_grants_and_algorithms(options: tuple[str, str]) -> None:
    """A server elsewhere may know other values, so a wrong one is no usage error here."""
    refused = CliRunner().invoke(client, ["new", "shop", *options, "--data", "data"])
    assert isinstance(refused.exception, Error)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("api", "new", "a", "--identifier", "a b"), "--identifier: must be an absolute URI"),
        (("api", "new", "a", "--identifier", "urn:a", "--scope", 'x"y'), "--scope: must be an array"),
        (("client", "new", "b", "--name", "\x01"), "--name: "),
        (("client", "new", "b c"), "client_id: must be 1 to 256"),
        (("invitation", "new", "--scope", 'x"y'), "--scope: must be an array"),
    ],
)
def test_a_mistake_is_named_by_its_option(run_json: Run, words: tuple[str, ...], said: str) -> None:
    code, error = run_json(*words)
    assert (code, error["message"].startswith(said)) == (8, True), error


def test_a_mistake_in_one_of_several_clients_is_named_by_its_option(run_json: Run) -> None:
    code, error = run_json("client", "new", "b", "c", "--scope", 'x"y')
    assert (code, [note.partition(" must")[0] for note in error["notes"][:1]]) == (8, ["create client b: --scope:"])


@pytest.mark.parametrize(
    ("scope", "warning"),
    [
        ("order.read", "no API has the scope order.read: is orders.read meant?"),
        ("zzz", "no API has the scope zzz: see  affiant api list"),
        ("orders.read", None),
    ],
)
def test_a_scope_that_no_api_has_is_warned_of(
    run_json: Run, capsys: pytest.CaptureFixture[str], scope: str, warning: str | None
) -> None:
    """It is registered all the same: clients may be registered before their APIs."""
    run_json("api", "new", "orders", "--identifier", "https://orders.example", "--scope", "orders.read")
    for words in (("client", "new", "billing"), ("client", "update", "billing"), ("invitation", "new")):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--scope", scope])
        assert ended.value.code == 0
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
        assert said == ([f"warning: {warning}"] if warning else [])
