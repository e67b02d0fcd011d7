"""`affiant rule` and the commands of `affiant trust` that change one, on a data folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import certificates

from affiant.cli.main import main
from affiant.jose import keys

Run = Callable[..., tuple[int, Any]]
JWKS, NEXT = ({"keys": [keys.generate("ES256").public().to_jwk()]} for _ in range(2))
TRUST = {"name": "ci", "issuer": "https://ci.example", "jwks": JWKS}
CLIENT = {"client_id": "deploy", "token_endpoint_auth_method": "federated_jwt"}


@pytest.fixture
def run(run_json: Run) -> Run:
    """Run a command in a folder with a trust and a client."""
    Path("registry.json").write_text(json.dumps({"trusts": [TRUST], "clients": [CLIENT]}))
    assert run_json("apply", "registry.json", "--yes")[0] == 0
    return run_json


def add(run: Run, name: str = "deploy", *more: str) -> dict[str, Any]:
    words = ("--trust", "ci", "--client", "deploy", "--when", f"sub={name}", "--when", "admin:=true", "--when", "n:=1")
    code, made = run("rule", "add", name, *words, *more)
    assert code == 0, made
    found: dict[str, Any] = made
    return found


def test_life_of_a_rule(run: Run) -> None:
    made = add(run, "deploy", "--scope", "r", "--names-only", "true")
    assert made["conditions"] == {"sub": ["deploy"], "admin": [True], "n": [1]}
    assert (made["scope"], made["names_only"], made["enabled"]) == (["r"], True, True)
    assert run("rule", "list", "--trust", "ci")[1] == run("rule", "list", "--client", "deploy")[1] == [made]
    assert run("rule", "list", "--trust", "other")[1] == []
    _, changed = run("rule", "update", "deploy", "--when", "sub=a", "--when", "sub=b", "--access-token-lifetime", "60")
    assert (changed["conditions"], changed["access_token_lifetime"]) == ({"sub": ["a", "b"]}, 60)
    assert changed["scope"] == ["r"]
    assert run("rule", "disable", "deploy")[0] == 0
    assert run("rule", "show", "deploy")[1]["enabled"] is False
    assert run("rule", "enable", "deploy")[0] == 0
    assert run("rule", "remove", "deploy")[0] == 0
    assert run("rule", "show", "deploy")[0] == 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--client", "deploy"), 2, "a rule needs --trust, --when"),
        (("--trust", "ci", "--client", "deploy", "--when", "sub"), 2, "CLAIM=TEXT"),
        (("--trust", "ci", "--client", "deploy", "--when", "n:=1.5"), 2, "true, false or a whole number"),
        (("--trust", "no", "--client", "deploy", "--when", "sub=a"), 8, "no trust named no"),
        (("--trust", "ci", "--client", "no", "--when", "sub=a"), 8, "no client named no"),
        (("--trust", "ci", "--client", "deploy", "--when", "sub=*"), 8, "a text before the *"),
    ],
)
def test_rules_that_cannot_be(run: Run, words: tuple[str, ...], code: int, said: str) -> None:
    ended, error = run("rule", "add", "deploy", *words)
    assert (ended, said in json.dumps(error)) == (code, True), error


def test_a_trust_is_changed_and_removed(run: Run) -> None:
    Path("next.json").write_text(json.dumps(NEXT))
    assert run("trust", "update", "ci", "--jwks", "next.json", "--alg", "ES256", "--several-audiences", "true")[0] == 0
    (found,) = run("trust", "list")[1]
    assert (found["jwks"], found["algorithms"], found["several_audiences"]) == (NEXT, ["ES256"], True)
    assert [key["kid"] for key in run("trust", "keys", "ci")[1]["keys"]] == [NEXT["keys"][0]["kid"]]
    code, error = run("trust", "update", "ci", "--jwks-uri", "https://10.0.0.1/", "--try-keys")
    assert (code, "may not connect to" in json.dumps(error)) == (8, True)
    Path("ca.pem").write_bytes(certificates.make_authority().pem)
    _, moved = run("trust", "update", "ci", "--jwks-uri", "https://10.0.0.1:6443/openid/v1/jwks", "--ca", "ca.pem")
    assert (moved["jwks"], moved["ca"]) == (None, Path("ca.pem").read_text())
    assert run("trust", "disable", "ci")[0] == 0
    assert run("trust", "show", "ci")[1]["enabled"] is False
    assert run("trust", "enable", "ci")[0] == 0
    add(run)
    code, error = run("trust", "remove", "ci")
    assert (code, "has rules (deploy)" in json.dumps(error)) == (8, True)
    assert run("trust", "remove", "ci", "--with-rules")[0] == 0
    assert run("rule", "list")[1] == run("trust", "list")[1] == []


def test_a_rule_is_found_by_the_name_that_its_tokens_have(run: Run) -> None:
    add(run)
    assert run("rule", "show", "ci/deploy")[1]["name"] == "deploy"
    assert run("rule", "update", "ci/deploy", "--access-token-lifetime", "60")[1]["access_token_lifetime"] == 60
    assert [run("rule", verb, "ci/deploy")[0] for verb in ("disable", "enable")] == [0, 0]
    for name in ("other/deploy", "ci/deplyo", "/", "ci/"):
        assert [run("rule", verb, name)[0] for verb in ("show", "update", "disable", "remove")] == [3] * 4
    assert run("rule", "remove", "ci/deploy")[0] == 0


def test_tokens_of_a_rule_and_of_a_trust_are_revoked(run: Run) -> None:
    add(run)
    for words, kind, value in (
        (("--rule", "deploy"), "rule", "ci/deploy"),
        (("--rule", "ci/deploy"), "rule", "ci/deploy"),
        (("--trust", "ci"), "trust", "ci"),
    ):
        code, done = run("revoke", *words)
        assert (code, done["kind"], done["value"], "note" in done) == (0, kind, value, False)
    assert run("revoke", "--rule", "deplyo")[0] == 3
    assert "is deploy meant?" in run("revoke", "--rule", "ci/deplyo")[1]["note"]


def test_words_for_people(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    add(run)
    for words, said in (
        (("rule", "show", "deploy"), "conditions            sub=deploy, admin:=true, n:=1"),
        (("rule", "list"), "rule ci/deploy  gives deploy to  sub=deploy admin:=true n:=1"),
        (("trust", "show", "ci"), str(JWKS["keys"][0]["kid"])),
        (("trust", "list"), "trust ci  generic  https://ci.example  keys: uploaded"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        assert ended.value.code == 0
        assert said in capsys.readouterr().out
