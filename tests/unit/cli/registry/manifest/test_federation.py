"""Trusts and rules in the file of `affiant apply`: there and back, drift, removal, and what the file cannot say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import certificates

from affiant.cli.registry.manifest import registry_file
from affiant.jose import keys

Run = Callable[..., tuple[int, Any]]
JWKS, NEXT = ({"keys": [keys.generate("ES256").public().to_jwk()]} for _ in range(2))
FILE = """
[[clients]]
client_id = "deploy"
token_endpoint_auth_method = "federated_jwt"

[[trusts]]
name = "github"
issuer = "https://token.actions.githubusercontent.com"
preset = "github"

[[trusts]]
name = "cluster"
issuer = "kubernetes/serviceaccount"
jwks_file = "cluster.json"
replay = "reused"
max_lifetime = 0
refuses = { sub = ["system:serviceaccount:shop:default"] }

[[rules]]
name = "deploy"
trust = "github"
client_id = "deploy"
conditions = { repository_id = ["42"], repository_owner_id = ["7"], ref = ["refs/heads/main"] }
access_token_lifetime = 300

[[rules]]
name = "pods"
trust = "cluster"
client_id = "deploy"
enabled = false

[rules.conditions]
sub = ["system:serviceaccount:shop:orders"]
"/kubernetes.io/serviceaccount/uid" = ["c0ffee00-0000-4000-8000-000000000000"]
numbered = [1, true, "1"]
"""


@pytest.fixture
def run(run_json: Run) -> Run:
    """Run a command in a folder with the file."""
    Path("cluster.json").write_text(json.dumps(JWKS))
    Path("registry.toml").write_text(FILE)
    return run_json


def test_there_and_back(run: Run) -> None:
    code, made = run("apply", "registry.toml", "--yes")
    assert code == 0
    assert [f"{step['action']} {step['kind']} {step['name']}" for step in made["steps"]] == [
        "create client deploy", "create trust github", "create trust cluster", "create rule deploy", "create rule pods",
    ]  # fmt: skip
    assert run("plan", "registry.toml", "--prune")[1]["steps"] == []
    _, document = run("export")
    assert {(trust["name"], trust.get("preset")) for trust in document["trusts"]} == {
        ("cluster", None),
        ("github", "github"),
    }
    assert "refuses" not in next(trust for trust in document["trusts"] if trust["name"] == "github")
    Path("again.json").write_text(json.dumps(document))
    assert run("plan", "again.json", "--prune")[1]["steps"] == []


def test_export_prints_toml_that_apply_reads(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    from affiant.cli.main import main

    run("apply", "registry.toml", "--yes")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["export"])
    assert ended.value.code == 0
    Path("again.toml").write_text(capsys.readouterr().out)
    assert run("plan", "again.toml", "--prune")[1]["steps"] == []


def test_drift_is_found_and_corrected(run: Run) -> None:
    run("apply", "registry.toml", "--yes")
    Path("registry.toml").write_text(
        FILE.replace("max_lifetime = 0", "max_lifetime = 600")
        .replace('ref = ["refs/heads/main"]', 'ref = ["refs/heads/main", "refs/heads/next"]')
        .replace('[1, true, "1"]', "[1, true]")
    )
    Path("cluster.json").write_text(json.dumps(NEXT))
    code, found = run("plan", "registry.toml")
    assert code == 6
    changed = {
        step["name"]: {one["member"]: (one["before"], one["after"]) for one in step["changes"]}
        for step in found["steps"]
    }
    assert changed["cluster"] == {"jwks": (JWKS, NEXT), "max_lifetime": (3600, 600)}
    assert list(changed["deploy"]) == list(changed["pods"]) == ["conditions"]
    assert run("apply", "registry.toml", "--yes")[0] == 0
    assert run("plan", "registry.toml")[0] == 0


def test_order_of_values_is_no_drift_and_their_types_are(run: Run) -> None:
    run("apply", "registry.toml", "--yes")
    Path("registry.toml").write_text(FILE.replace('[1, true, "1"]', '["1", true, 1]'))
    assert run("plan", "registry.toml")[0] == 0
    Path("registry.toml").write_text(FILE.replace('[1, true, "1"]', "[true, 1.0]"))
    assert run("plan", "registry.toml")[0] == 8
    Path("registry.toml").write_text(FILE.replace('[1, true, "1"]', '[true, "1"]'))
    assert [step["name"] for step in run("plan", "registry.toml")[1]["steps"]] == ["pods"]


def test_prune_removes_rules_before_their_trust(run: Run) -> None:
    run("apply", "registry.toml", "--yes")
    Path("empty.toml").write_text('[[clients]]\nclient_id = "deploy"\n')
    assert run("plan", "empty.toml")[1]["not_in_file"] == [
        {"kind": "rule", "name": "deploy"}, {"kind": "rule", "name": "pods"},
        {"kind": "trust", "name": "cluster"}, {"kind": "trust", "name": "github"},
    ]  # fmt: skip
    code, done = run("apply", "empty.toml", "--prune", "--yes")
    assert code == 0
    assert [f"{step['kind']} {step['name']}" for step in done["steps"]] == [
        "rule deploy", "rule pods", "trust cluster", "trust github",
    ]  # fmt: skip


def test_prune_keeps_how_administrators_come_in(run: Run) -> None:
    run("apply", "registry.toml", "--yes")
    assert run("admin", "bootstrap", "boss")[0] == 0
    Path("more.json").write_text(
        json.dumps({"rules": [{"name": "boss", "trust": "cluster", "client_id": "boss", "conditions": {
            "sub": ["system:serviceaccount:admin:boss"],
            "/kubernetes.io/serviceaccount/uid": ["c0ffee00-0000-4000-8000-000000000001"]}}]})
    )  # fmt: skip
    assert run("apply", "more.json", "--yes")[0] == 0
    Path("empty.toml").write_text("")
    assert run("apply", "empty.toml", "--prune", "--yes")[0] == 0
    _, left = run("plan", "empty.toml", "--prune")
    assert {(one["kind"], one["name"]) for one in left["not_in_file"]} > {("rule", "boss"), ("trust", "cluster")}
    assert left["steps"] == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('preset = "github"', 'preset = "generic"', "preset is github and cannot change"),
        ('issuer = "kubernetes/serviceaccount"', 'issuer = "https://b.example"', "issuer is kubernetes/serviceaccount"),
        ('trust = "cluster"', 'trust = "github"', "trust is cluster and cannot change"),
        ('name = "pods"', 'name = "deploy"', "name of a rule is repeated: deploy"),
        ('name = "cluster"', 'name = "github"', "name of a trust is repeated: github"),
        ('jwks_file = "cluster.json"', 'jwks_file = "absent.json"', "absent.json cannot be read"),
        ('jwks_file = "cluster.json"', 'jwks_file = "registry.toml"', "registry.toml is not JSON"),
        ('jwks_file = "cluster.json"', 'jwks_file = "private.json"', "JWK Set with public keys alone"),
        ("max_lifetime = 0", 'jwks_uri = "https://b.example"', "give one of jwks_uri and jwks_file"),
        ("max_lifetime = 0", "lifetime = 0", "trusts.2.lifetime: no such member"),
    ],
)
def test_what_the_file_cannot_say(run: Run, before: str, after: str, said: str) -> None:
    run("apply", "registry.toml", "--yes")
    Path("private.json").write_text(json.dumps({"keys": [keys.generate("ES256").to_jwk()]}))
    Path("registry.toml").write_text(FILE.replace(before, after))
    code, error = run("plan", "registry.toml")
    assert (code, said in json.dumps(error)) == (8, True), error


def test_certificates_of_a_file(run: Run) -> None:
    ca = certificates.make_authority().pem.decode()
    Path("ca.pem").write_text(ca)
    private = '[[trusts]]\nname = "private"\nissuer = "https://cluster.internal"\nca_file = "ca.pem"\n'
    Path("private.toml").write_text(private)
    (trust,) = registry_file.read(Path("private.toml")).trusts
    assert trust.members() == {"name": "private", "issuer": "https://cluster.internal", "ca": ca}
    _, made = run("apply", "private.toml", "--yes")
    assert made["steps"][0]["name"] == "private"
    assert run("plan", "private.toml")[1]["steps"] == []


def test_many_rules_are_judged_with_their_trust(run: Run) -> None:
    """One request of a dry run takes 48 kB: each one has the trust and the client that its rules need."""
    rules = [
        {"name": f"r{number}", "trust": "ci", "client_id": "many", "conditions": {"id": [f"{number:0500}"]}}
        for number in range(300)
    ]
    trust = {"name": "ci", "issuer": "https://ci.example"}
    client = {"client_id": "many", "token_endpoint_auth_method": "federated_jwt"}
    run("apply", "registry.toml", "--yes")
    Path("many.json").write_text(json.dumps({"clients": [client], "trusts": [trust], "rules": rules}))
    code, found = run("plan", "many.json")
    assert (code, len(found["steps"])) == (6, 302)
