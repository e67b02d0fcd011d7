"""Conditions on the command line: CLAIM=TEXT, or CLAIM:=VALUE for the other types."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from affiant.cli.registry.options import CONDITION, conditions, member_options, members
from affiant.server.registry.federation import fields


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ref=refs/heads/main", ("ref", "refs/heads/main")),
        ("ref_protected=true", ("ref_protected", "true")),
        ("ssh-rerun:=false", ("ssh-rerun", False)),
        ("runner_id:=1", ("runner_id", 1)),
        ("sub=a=b", ("sub", "a=b")),
        ("/https:~1~1sts.amazonaws.com~1/org_id=o-1", ("/https:~1~1sts.amazonaws.com~1/org_id", "o-1")),
        ("empty=", ("empty", "")),
    ],
)
def test_a_condition_has_its_type(text: str, expected: tuple[str, Any]) -> None:
    claim, value = CONDITION.convert(text, None, None)
    assert (claim, value, type(value)) == (*expected, type(expected[1]))


@pytest.mark.parametrize("text", ["ref", "=x", ":=1", "n:=1.5", "n:=x", 'n:="1"', "n:=null", "n:=NaN", "n:=[1]", ""])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="CLAIM=TEXT"):
        CONDITION.convert(text, None, None)


def test_values_of_one_claim_are_collected() -> None:
    assert conditions([("a", "1"), ("b", True), ("a", 1)]) == {"a": ["1", 1], "b": [True]}


def test_options_of_a_trust_give_its_members(tmp_path: Path) -> None:
    found: dict[str, Any] = {}

    @click.command()
    @member_options(fields.TRUST)
    def command(**options: Any) -> None:
        found.update(members(fields.TRUST, options))

    (tmp_path / "keys.json").write_text('{"keys": []}')
    words = ["--refuse", "event_name=workflow_run", "--refuse", "event_name=x", "--several-audiences", "true"]
    done = CliRunner().invoke(command, [*words, "--jwks", str(tmp_path / "keys.json"), "--max-lifetime", "600"])

    assert done.exit_code == 0, done.output
    assert found == {
        "refuses": {"event_name": ["workflow_run", "x"]},
        "several_audiences": True,
        "jwks": {"keys": []},
        "max_lifetime": 600,
    }


@pytest.mark.parametrize("content", [None, b"\xff", b" " * 65_537, b"[]"], ids=["missing", "binary", "long", "array"])
def test_a_file_that_cannot_be_a_document_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "keys.json").write_bytes(content)

    @click.command()
    @member_options(fields.TRUST)
    def command(**_: Any) -> None:
        raise AssertionError

    done = CliRunner().invoke(command, ["--jwks", str(tmp_path / "keys.json")])
    assert done.exit_code == 2, done.output
