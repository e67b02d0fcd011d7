"""Plugin of pytest for scripts/neighbours: at the end, one line for each neighbour says whether it ran."""

import re
from collections import Counter, defaultdict

import pytest

_PARAMETER = re.compile(r"\[(\w+)")


class Results:
    """The outcomes of each neighbour's tests, and why they were skipped."""

    def __init__(self) -> None:
        self.outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.reasons: dict[str, str] = {}

    def add(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        name = neighbour(report.nodeid)
        self.outcomes[name][report.outcome] += 1
        if report.skipped and isinstance(report.longrepr, tuple):
            self.reasons[name] = str(report.longrepr[2]).removeprefix("Skipped: ")

    def lines(self) -> list[str]:
        return [f"{name:<36} {self._result(name)}" for name in sorted(self.outcomes)]

    def _result(self, name: str) -> str:
        counts = self.outcomes[name]
        if counts["failed"]:
            return f"FAILED: {counts['failed']} of {counts.total()} tests"
        if counts["passed"]:
            return f"ran: {counts['passed']} tests"
        return f"did not run: {self.reasons.get(name, 'skipped')}"


def neighbour(nodeid: str) -> str:
    """Return whom a test is about, by its name: ``test_servers.py::test_haproxy`` is about haproxy."""
    file, _, test = nodeid.partition("::")
    if file.endswith("test_forward_auth.py") and (found := _PARAMETER.search(test)):
        return f"{found[1]} (forward-auth)"
    return test.partition("[")[0].removeprefix("test_").replace("_", " ")


_RESULTS = Results()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _RESULTS.add(report)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("neighbours")
    for line in _RESULTS.lines():
        terminalreporter.write_line(line)
