"""`affiant trust test`: what mends a token comes first, and then all that is wrong with it; nothing is used up."""

import io
import json
import sys
from pathlib import Path

import pytest
from tests.platforms import clouds, github
from tests.platforms.issuer import Issuer, signed, stranger
from tests.unit.cli.conftest import Run
from tests.unit.cli.registry.trust.test_adding import AS, keys_of, written

from affiant.cli.main import main
from affiant.testing.clock import NOW

GOOD = github.job(audience=AS)
AT = ("--at", str(NOW))
REFUSED, CONFIGURATION = 4, 8


@pytest.fixture
def trusting(run_json: Run, tmp_path: Path) -> Run:
    """A folder with a trust for one branch of one repository."""
    assert run_json("api", "new", "orders", "--identifier", "https://orders.example", "--scope", "orders.read")[0] == 0
    words = ["--repository-id", "74", "--new-client", "deploy", "--scope", "orders.read", *keys_of(tmp_path, GOOD)]
    code, made = run_json("trust", "add", "github", "acme/app", *words)
    assert code == 0, made
    return run_json


def test_a_token_that_would_be_accepted(trusting: Run, tmp_path: Path) -> None:
    code, found = trusting("trust", "test", written(tmp_path, GOOD), *AT)
    assert (code, found["accepted"], found["client_id"]) == (0, True, "deploy")
    assert (found["granted"]["scope"], found["granted"]["lifetime"]) == (["orders.read"], 300)
    limits = {limit["layer"]: limit.get("lifetime") for limit in found["granted"]["limits"]}
    assert limits["rule github/deploy"] == 300  # what the token has left
    again = trusting("trust", "test", written(tmp_path, GOOD), *AT)[1]
    assert again["accepted"]
    assert trusting("audit", "show", "--refused")[1] == []


def test_all_findings_at_once_and_the_first_line_mends(
    trusting: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = github.job(github.RUNS["tag"], audience="https://other.example")
    code, found = trusting("trust", "test", written(tmp_path, wrong), "--at", str(NOW + 3600))
    assert code == REFUSED
    assert [found["reason"], *(one["reason"] for one in found["also"])] == [
        "trust.audience",
        "assertion.expired",
        "rule.none",
    ]
    assert all(one["fix"]["line"] for one in found["also"])
    assert not found["rules"][0]["conditions"][-1]["met"]
    with pytest.raises(SystemExit) as ended:
        main(["trust", "test", "job.jwt", "--at", str(NOW + 3600)])
    assert ended.value.code == REFUSED
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f'fix  core.getIDToken("{AS}")'
    assert any("expected" in line and "refs/heads/main" in line for line in lines)


def test_a_signature_of_another_key(trusting: Run, tmp_path: Path) -> None:
    (tmp_path / "forged.jwt").write_text(Issuer.of(GOOD).sign(GOOD, by=stranger()))
    code, found = trusting("trust", "test", "forged.jwt", *AT)
    assert (code, found["reason"], found["granted"]) == (REFUSED, "trust.key_unknown", None)
    assert found["trust"] == "github"


def test_before_a_trust_exists(run_json: Run, tmp_path: Path) -> None:
    """It names the issuer, and the command that fits, with the file that was given."""
    assert run_json("api", "new", "orders", "--identifier", "https://orders.example")[0] == 0
    code, found = run_json("trust", "test", written(tmp_path, GOOD, "a b.jwt"), *AT)
    assert (code, found["reason"]) == (REFUSED, "trust.unknown")
    assert found["fix"]["line"] == "affiant trust add github --from-token 'a b.jwt'"
    assert github.ISSUER in found["fix"]["why"]


def test_by_another_trust_than_that_of_its_issuer(trusting: Run, tmp_path: Path) -> None:
    code, found = trusting("trust", "test", written(tmp_path, clouds.google()), "--trust", "github", *AT)
    assert (code, found["reason"], found["trust"]) == (REFUSED, "trust.unknown", "github")
    assert found["ladder"][3]["expected"] == github.ISSUER
    code, found = trusting("trust", "test", written(tmp_path, GOOD), "--trust", "nobody", *AT)
    assert (code, found["ladder"][3]["expected"]) == (REFUSED, "a trust named nobody")


@pytest.mark.parametrize("given", ["", "null\n", "hello"])
def test_what_is_no_token(trusting: Run, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
    code, error = trusting("trust", "test", "-")
    assert code == CONFIGURATION
    assert ("permissions: {id-token: write}" in error["message"]) is (given != "hello")


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "there is no file of this name"), ("eyJ\nhbGci.e30.x", "job.jwt has no signed JWT")],
)
def test_a_file_that_is_missing_or_wrapped_is_told_apart(
    trusting: Run, tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "job.jwt").write_text(text)
    code, error = trusting("trust", "test", "job.jwt")
    assert (code, said in error["message"]) == (CONFIGURATION, True)
    assert "hbGci" not in error["message"]


def test_a_signature_that_was_not_judged_is_not_passed(run_json: Run, tmp_path: Path) -> None:
    """Without the keys, only the other findings are known."""
    assert run_json("api", "new", "orders", "--identifier", "https://orders.example", "--scope", "orders.read")[0] == 0
    other = tmp_path / "other.json"
    other.write_text(json.dumps(Issuer.of(clouds.google()).jwks))
    words = ["acme/app", "--repository-id", "74", "--new-client", "deploy", "--jwks", str(other)]
    assert run_json("trust", "add", "github", *words)[0] == 0
    code, found = run_json("trust", "test", written(tmp_path, GOOD), *AT)
    assert (code, found["reason"]) == (REFUSED, "trust.key_unknown")
    marks = {line["rung"]: line["mark"] for line in found["ladder"]}
    assert (marks[6], marks[7], marks[8]) == ("failed", "not reached", "passed")


def test_a_repository_with_a_recycled_name_is_not_given_the_rule(trusting: Run, tmp_path: Path) -> None:
    """Attack: the first line is pasted."""
    other = github.job(repository=github.APP.recycled, audience=AS)
    code, found = trusting("trust", "test", written(tmp_path, other), *AT)
    assert (code, found["reason"]) == (REFUSED, "rule.none")
    assert found["fix"]["line"] == "affiant trust add github --from-token job.jwt"
    assert "only if it is yours" in found["fix"]["why"]


def test_a_token_stands_in_no_output(trusting: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = signed(GOOD)
    for words in (["trust", "test", written(tmp_path, GOOD), *AT], ["trust", "test", text, *AT]):
        with pytest.raises(SystemExit):
            main(words)
        printed = capsys.readouterr()
        assert not [part for part in text.split(".")[1:] if part in printed.out + printed.err]
    assert text.split(".")[2] not in json.dumps(trusting("audit", "show")[1])
