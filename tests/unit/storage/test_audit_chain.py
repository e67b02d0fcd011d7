"""Damage to the audit log, and how it is found and named."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affiant.storage.entries import GENESIS, AuditHead, AuditRecord, AuditRow, chain
from affiant.storage.history.audit_chain import (
    Broken,
    Damage,
    Verification,
    build_head,
    build_line,
    parse_head,
    parse_line,
)

KEY = b"k" * 32
Rows = list[AuditRow]


def _rows(count: int, key: bytes = KEY) -> Rows:
    rows, link = [], GENESIS
    for number in range(1, count + 1):
        trace_id = f"trace-{number}"
        record = AuditRecord(at=float(number), trace_id=trace_id, endpoint="token", outcome="issued").to_json()
        link = chain(link, record, key)
        rows.append(AuditRow(number, trace_id, record, link))
    return rows


def _verify(rows: Rows, *, given: int = 0, expected: AuditHead | None = None, key: bytes = KEY) -> AuditHead:
    verification = Verification(key, expected=expected)
    for row in rows:
        verification.feed(row)
    return verification.finish(given)


def _broken(rows: Rows, *, given: int = 0, expected: AuditHead | None = None, key: bytes = KEY) -> Broken:
    with pytest.raises(Broken) as caught:
        _verify(rows, given=given, expected=expected, key=key)
    return caught.value


def _renumbered(rows: Rows) -> Rows:
    return [row._replace(number=number) for number, row in enumerate(rows, 1)]


@pytest.mark.parametrize("count", [0, 1, 2, 10])
def test_a_written_log_is_valid(count: int) -> None:
    rows = _rows(count)
    link = rows[-1].link if rows else GENESIS
    assert _verify(rows, given=count) == AuditHead(count, link, count)


ROWS = _rows(10)
FORGED = AuditRecord(at=2.0, trace_id="forged", endpoint="token", outcome="issued").to_json()


def _edited(place: int, **changes: Any) -> Rows:
    return [*ROWS[:place], ROWS[place]._replace(**changes), *ROWS[place + 1 :]]


def _inserted(place: int) -> Rows:
    forged = AuditRow(0, "forged", FORGED, chain(ROWS[place - 1].link if place else GENESIS, FORGED))
    return _renumbered([*ROWS[:place], forged, *ROWS[place:]])


EDITED = [
    *((_edited(place, record=ROWS[place].record.replace(b"issued", b"refused")), place) for place in (0, 4, 9)),
    *((_edited(place, link=bytes(32)), place) for place in (0, 4, 9)),
    # The column that records are looked up by is not under the chain; it must say what the record says.
    (_edited(1, trace_id="other"), 1),
]


@pytest.mark.parametrize(
    ("rows", "damage", "number", "trace", "says"),
    [
        *(
            (rows, Damage.EDITED, at + 1, f"trace-{at + 1}", rf"record {at + 1} \(trace trace-{at + 1}\)")
            for rows, at in EDITED
        ),
        (ROWS[1:], Damage.DELETED, 1, None, "record 1 is missing.*deleted"),
        (ROWS[:3] + ROWS[6:], Damage.DELETED, 4, None, "records 4 to 6 are missing.*deleted"),
        (_renumbered(ROWS[:4] + ROWS[5:]), Damage.EDITED, 5, "trace-6", "or records before it were deleted"),
        (ROWS[:7], Damage.CUT, 8, None, "records 8 to 10 are gone"),
        ([*ROWS[:4], *ROWS[5:], ROWS[4]._replace(number=1000)], Damage.REORDERED, 5, "trace-5", "is now record 1000"),
        *((_inserted(place), Damage.INSERTED, place + 1, "forged", "") for place in (0, 5, 9)),
        ([ROWS[2]._replace(number=-7), *ROWS], Damage.INSERTED, -7, "trace-3", ""),
    ],
)
def test_damage_is_named(rows: Rows, damage: Damage, number: int, trace: str | None, says: str) -> None:
    broken = _broken(rows, given=10)
    assert (broken.damage, broken.number, broken.trace_id) == (damage, number, trace)
    assert re.search(says, str(broken))


def test_a_log_continued_after_a_cut_has_a_gap() -> None:
    rows = _rows(5)
    record = rows[4].record
    went_on = AuditRow(9, rows[4].trace_id, record, chain(rows[1].link, record, KEY))
    broken = _broken([*rows[:2], went_on], given=9)
    assert (broken.damage, broken.number) == (Damage.DELETED, 3)
    assert "cut off the end" in str(broken)


def test_a_cut_tail_needs_a_saved_head() -> None:
    """Without the number given, only a saved head shows it."""
    rows = _rows(10)
    noted = parse_head(build_head(_verify(rows)))
    assert _verify(rows[:7]).number == 7
    broken = _broken(rows[:7], expected=noted)
    assert (broken.damage, broken.number) == (Damage.CUT, 8)
    assert "noted down" in str(broken)
    assert _verify(_rows(12), expected=noted).number == 12


def test_a_rewritten_log_differs_from_the_head() -> None:
    noted = _verify(_rows(5))
    rows = _rows(8)[2:]
    link, rewritten = GENESIS, []
    for number, row in enumerate(rows, 1):
        link = chain(link, row.record, KEY)
        rewritten.append(row._replace(number=number, link=link))
    assert _verify(rewritten).number == 6
    broken = _broken(rewritten, expected=noted)
    assert (broken.damage, broken.number) == (Damage.REWRITTEN, 5)


def test_the_log_cannot_be_rewritten_without_the_key() -> None:
    broken = _broken(_rows(5, key=b""))
    assert (broken.damage, broken.number) == (Damage.OTHER_KEY, 1)
    rows = _rows(5)
    rows[2] = AuditRow(3, "forged", FORGED, chain(rows[1].link, FORGED))
    assert _broken(rows).number == 3


@pytest.mark.parametrize(("one", "other"), [(0, 1), (4, 5), (8, 9), (2, 7), (0, 9)])
def test_swapped_records_are_named(one: int, other: int) -> None:
    """Whole rows, or only what they say."""
    rows = _rows(10)
    rows[one], rows[other] = rows[other], rows[one]
    whole = _broken(_renumbered(rows))
    assert (whole.damage, whole.number, whole.trace_id) == (Damage.REORDERED, one + 1, f"trace-{one + 1}")
    assert f"is now record {other + 1}" in str(whole)
    texts = [row._replace(link=was.link) for row, was in zip(_renumbered(rows), _rows(10), strict=True)]
    found = _broken(texts)
    assert (found.damage, found.number) == (Damage.REORDERED, one + 1)


@given(st.data())
def test_any_single_mutation_is_found(data: st.DataObject) -> None:
    rows = _rows(8)
    place = data.draw(st.integers(0, 7))
    row = rows[place]
    mutate = data.draw(
        st.sampled_from(["flip record", "flip link", "number", "trace id", "delete", "double", "swap", "move"])
    )
    if mutate.startswith("flip"):
        value = bytearray(row.record if mutate == "flip record" else row.link)
        value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
        flipped = bytes(value)
        rows[place] = row._replace(record=flipped) if mutate == "flip record" else row._replace(link=flipped)
    elif mutate == "number":
        rows[place] = row._replace(number=data.draw(st.integers().filter(lambda number: number != row.number)))
        rows.sort(key=lambda changed: changed.number)
    elif mutate == "trace id":
        rows[place] = row._replace(trace_id=data.draw(st.text().filter(lambda text: text != row.trace_id)))
    elif mutate == "delete":
        del rows[place]
        rows = _renumbered(rows) if data.draw(st.booleans()) else rows
    elif mutate == "double":
        rows = _renumbered([*rows[: place + 1], *rows[place:]])
    else:
        other = data.draw(st.integers(0, 7).filter(lambda number: number != place))
        if mutate == "swap":
            rows[place], rows[other] = rows[other], rows[place]
        else:
            rows.insert(other, rows.pop(place))
        rows = _renumbered(rows)
    with pytest.raises(Broken):
        _verify(rows, given=8)


def _lines(rows: Rows) -> list[bytes]:
    links = [GENESIS, *(row.link for row in rows)]
    return [build_line(row, previous) for row, previous in zip(rows, links, strict=False)]


def _verify_lines(lines: list[bytes], start: Callable[[Verification, AuditRow, bytes], None] | None = None) -> int:
    verification = Verification(KEY)
    for row, previous in map(parse_line, lines):
        if start is not None:
            start(verification, row, previous)
        verification.feed(row, previous)
    return verification.finish().number


def test_an_export_comes_back_byte_for_byte() -> None:
    rows = _rows(3)
    lines = _lines(rows)
    assert [parse_line(line)[0] for line in lines] == rows
    assert _verify_lines(lines) == 3
    assert msgspec.json.decode(lines[0])["record"]["trace_id"] == "trace-1"


def test_a_selection_is_valid_if_gaps_are_allowed() -> None:
    lines = _lines(_rows(9))
    chosen = [lines[2], lines[3], lines[7]]
    assert _verify_lines(chosen, Verification.resume) == 8
    with pytest.raises(Broken, match="records 1 to 2 are missing"):
        _verify_lines(chosen)
    for place, name in ((0, "issued"), (1, "issued"), (2, "issued"), (1, lines[3][24:34].decode())):
        edited = [*chosen]
        edited[place] = edited[place].replace(name.encode(), b"0" * len(name))
        with pytest.raises(Broken):
            _verify_lines(edited, Verification.resume)


@pytest.mark.parametrize(
    "record", [b"", b"\xff\xfe", b"{", b'{"a":1}\n{"b":2}', b'{"a":"\xc2\x9b31m"}', b'"text"', b"[]"]
)
def test_a_damaged_record_is_one_printable_line(record: bytes) -> None:
    line = build_line(AuditRow(1, "t", record, b"short"), GENESIS)
    assert line.decode("ascii").isprintable()
    assert parse_line(line)[0].record == record


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b'{"number":1}',
        b'{"number":1,"previous":"zz","link":"","record":{}}',
        b"\xff",
        b'{"number":1,"previous":"","link":"","record":"zz"}',
        b'{"number":1,"previous":"","link":"","record":"',
    ],
)
def test_a_bad_line_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_line(line)


@pytest.mark.parametrize("text", ["", "7", "7:", "7:zz", f"-1:{'0' * 64}", f"7:{'0' * 63}", f"7:{'0' * 64}\n"])
def test_a_bad_head_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="NUMBER:LINK"):
        parse_head(text)
