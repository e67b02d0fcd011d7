"""The outcomes of audit records are a closed list, which docs/reference/audit.md repeats."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from affiant.storage.entries import AuditOutcome, AuditRecord

PAGE = Path(__file__).parents[3] / "docs/reference/audit.md"
RECORD = AuditRecord(1.0, "trace", "admin", "changed")


def test_outcomes_are_those_of_the_page() -> None:
    rows = PAGE.read_text("utf-8").partition("| `endpoint` | | `outcome`")[2].partition("\n\n")[0].splitlines()[2:]
    listed = {word for row in rows for word in re.findall(r"`([a-z]+)`", row.split("|")[3])}
    assert listed | {"refused"} == set(get_args(AuditOutcome))


@pytest.mark.parametrize(
    ("before", "after", "written"),
    [
        (None, {"a": 1}, (None, {"a": 1})),
        ({"a": 1}, None, ({"a": 1}, None)),
        ({"a": 1, "b": [1]}, {"a": 1, "b": [1, 2]}, ({"b": [1]}, {"b": [1, 2]})),
        ({"keys": [{"kid": "a"}]}, {"keys": [{"kid": "a"}, {"kid": "b"}]}, ({}, {"keys": [{"kid": "b"}]})),
        ({"keys": [{"kid": "a"}]}, {"keys": []}, ({"keys": [{"kid": "a"}]}, {})),
    ],
)
def test_a_record_has_the_difference(before: Any, after: Any, written: tuple[Any, Any]) -> None:
    found = RECORD.with_change(before, after)
    assert tuple(json.loads(text) if text else None for text in (found.before, found.after)) == written
