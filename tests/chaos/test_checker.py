"""The checker is only worth what it catches: histories made up to be bad, each in one way."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.chaos import checker, history
from tests.chaos.checker import Evidence
from tests.chaos.history import ISSUED, LIMITED, LOST, MALFORMED, REFUSED, UNAVAILABLE, Event

from affiant.errors.reasons import Reason
from affiant.storage.entries import GENESIS, AuditRecord, AuditRow, chain

NOW, KEY = 1_800_000_000, b"audit key"


def _event(jti: str = "j1", outcome: str = ISSUED, trace: str | None = "t1", **members: float) -> Event:
    return Event("token", "c1", jti, members.get("start", 0.0), members.get("end", 0.1), outcome, NOW + 60, trace=trace)


def _record(trace: str = "t1", jti: str = "j1", outcome: Any = ISSUED, client: str = "c1") -> AuditRecord:
    reason = Reason.REPLAYED.code if outcome == REFUSED else None
    return AuditRecord(float(NOW), trace, "token", outcome, reason, client_id=client, jti_digest=checker.digest(jti))


def _evidence(*records: AuditRecord, claims: tuple[str, ...] = ("j1",)) -> Evidence:
    rows, link = list[AuditRow](), GENESIS
    for number, record in enumerate(records, 1):
        data = record.to_json()
        link = chain(link, data, KEY)
        rows.append(AuditRow(number, record.trace_id, data, link))
    return Evidence({("c1", checker.digest(jti)): NOW + 120 for jti in claims}, rows, len(rows))


def _kinds(events: list[Event], evidence: Evidence, now: float = NOW) -> set[str]:
    return set(checker.check(events, evidence, audit_key=KEY, now=now).violations)


GOOD = (
    [
        _event(),
        _event(outcome=REFUSED, trace="t2"),  # the replay
        _event("j2", LOST, None),
        _event("j3", LOST, None),
        _event("j4", UNAVAILABLE, "t4"),
        _event("j5", LIMITED, "t5"),
    ],
    # Of the two whose answer was lost, one was committed; so was the one that was asked to come back.
    _evidence(
        _record(), _record("t2", outcome=REFUSED), _record("t3", "j2"), _record("t4", "j4"), claims=("j1", "j2", "j4")
    ),
)


def test_good_history_passes() -> None:
    """With an answer lost before and after its commit, a replay that was refused, a limit and a full disk."""
    assert _kinds(*GOOD) == set()


@pytest.mark.parametrize(
    ("kind", "events", "evidence"),
    [
        ("double", [_event(), _event(trace="t2")], _evidence(_record(), _record("t2", outcome=REFUSED))),
        ("double", [_event(), _event(outcome=LOST, trace=None)], _evidence(_record(), _record("t2"))),
        ("lost", [_event()], _evidence(claims=())),
        ("lost", [_event()], _evidence(claims=("j1",))),
        ("lost", [_event()], _evidence(_record(), claims=())),
        ("lost", [_event()], _evidence(_record(outcome=REFUSED))),
        ("lost", [_event()], _evidence(_record(jti="j2"), claims=("j1", "j2"))),
        ("lost", [_event()], _evidence(_record(client="c2"))),
        ("lost", [_event(outcome=REFUSED)], _evidence(claims=())),
        ("lost", [_event(trace=None)], _evidence(_record())),
        ("torn", [_event(outcome=LOST, trace=None)], _evidence(_record(), claims=())),
        ("torn", [_event(outcome=LOST, trace=None)], _evidence(claims=("j1",))),
        (
            "torn",
            [_event(outcome=LOST, trace=None), _event(outcome=REFUSED, trace="t2")],
            _evidence(_record("t2", outcome=REFUSED)),
        ),
        ("unasked", [_event(outcome=REFUSED)], _evidence(_record())),
        ("unasked", [], _evidence(_record())),
        ("answer", [_event(outcome=MALFORMED, trace=None)], _evidence(claims=())),
        ("answer", [_event(outcome=UNAVAILABLE, end=6.2)], _evidence(claims=())),
        ("answer", [_event(outcome=LOST, trace=None, end=6.2)], _evidence(claims=())),
    ],
)
def test_bad_history_is_caught(kind: str, events: list[Event], evidence: Evidence) -> None:
    """Each for what is wrong with it."""
    assert kind in _kinds(events, evidence)


def test_broken_chain_is_caught() -> None:
    """Edited, cut off at the end, and under another key."""
    events, whole = GOOD
    edited = [replace_outcome(whole.rows[0]), *whole.rows[1:]]
    assert "chain" in _kinds(events, replace(whole, rows=edited))
    assert "chain" in _kinds(events, replace(whole, rows=whole.rows[:-1]))
    verdict = checker.check(events, whole, audit_key=b"another", now=NOW)
    assert set(verdict.violations) == {"chain"}


def replace_outcome(row: AuditRow) -> AuditRow:
    """The row, edited without the key."""
    return row._replace(record=row.record.replace(b'"issued"', b'"ISSUED"'))


def test_jti_may_go_when_its_assertion_has_ended() -> None:
    """The purge is no loss; before that, it is one."""
    events, evidence = [_event()], _evidence(_record(), claims=())
    assert _kinds(events, evidence, NOW + 89) == {"lost", "torn"}
    assert _kinds(events, evidence, NOW + 90) == set()


def test_jti_may_go_when_the_store_forgets_up_to_its_end() -> None:
    """Purged by a clock that ran ahead: it is refused without its claim. One that ends a second later is not."""
    events, evidence = [_event()], _evidence(_record(), claims=())
    assert _kinds(events, replace(evidence, forgotten=NOW + 119)) == {"lost", "torn"}
    assert _kinds(events, replace(evidence, forgotten=NOW + 120)) == set()


def test_verdict_names_what_it_found() -> None:
    """The operator must be able to look for it."""
    verdict = checker.check([_event("j9")], _evidence(claims=()), audit_key=KEY, now=NOW)
    assert "j9" in str(verdict)
    assert "no audit record" in str(verdict)


def test_history_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One line for each event."""
    path = tmp_path_factory.mktemp("history") / "history.jsonl"
    written = history.History(path)
    for event in GOOD[0]:
        written.add(event)
    written.close()
    assert history.read(path) == GOOD[0]
    assert msgspec.json.decode(path.read_bytes().splitlines()[0])["outcome"] == "issued"
