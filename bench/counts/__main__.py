"""The work of a token, of a check by the guard and of a cached token, compared with what it was: `make counts`.

Signatures are counted by themselves and taken off the others.

Times differ from run to run and from machine to machine; counts of work do not. Two counters run the same roads
(roads.py):

- bytecodes, and calls of functions written in C: the same on every machine with this minor version of Python and the
  locked packages. They see the Python code of all threads, and nothing inside a C function.
- machine instructions, by callgrind: also OpenSSL, SQLite and msgspec, not the kernel. They differ by build of Python
  (4 to 14 % between two builds of 3.11), so that they are compared only with those of the same build. valgrind hides
  what a processor has beyond AVX2, so the processor makes no difference as long as it has that.

Usage: python -m bench.counts [--accept] [--bytecodes]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.counts.counting import MARK, TIMES
from bench.counts.roads import ROADS, SIGNATURES

HERE = Path(__file__).parent
EXPECTED = HERE / "expected.json"
TOLERANCE = 0.03
PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"
BUILD = f"CPython {platform.python_version()}, {platform.python_compiler()}, {platform.machine()}"
BYTECODES, CALLS, INSTRUCTIONS = f"bytecodes, {PYTHON}", f"calls of C, {PYTHON}", f"instructions, {BUILD}"

Counts = dict[str, int]  # by road


class Missing(Exception):
    """What the counter needs is not on this machine."""


def bytecodes() -> dict[str, Counts]:
    """Count what the interpreter does."""
    printed = _run([sys.executable], [], output=subprocess.PIPE)
    found = {road: {int(times): pair for times, pair in pairs.items()} for road, pairs in json.loads(printed).items()}
    return {
        title: _for_one({road: {times: pair[part] for times, pair in pairs.items()} for road, pairs in found.items()})
        for part, title in enumerate((BYTECODES, CALLS))
    }


def instructions() -> dict[str, Counts]:
    """Count what the processor does.

    Raises:
        Missing: there is no valgrind, or no C compiler.
    """
    valgrind, compiler = shutil.which("valgrind"), shutil.which("cc")
    if valgrind is None or compiler is None:
        raise Missing(f"{'valgrind' if valgrind is None else 'a C compiler (cc)'} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        library, dumps = Path(folder) / "marks.so", Path(folder) / "dump"
        made = subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, HERE / "marks.c"], check=False)
        if made.returncode:
            raise Missing("marks.c does not compile: the headers of valgrind may be missing")
        callgrind = [valgrind, "-q", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={dumps}"]
        _run([*callgrind, sys.executable], [str(library)])
        found = dict(_read(path) for path in Path(folder).glob("dump.*"))
    counted = {road: {n: found[MARK.format(road=road, times=n)] for n in (TIMES, 2 * TIMES)} for road in ROADS}
    return {INSTRUCTIONS: _for_one(counted)}


def _run(python: list[str], words: list[str], *, output: int | None = None) -> str:
    """Run counting.py in an interpreter that hashes alike each time, and that no setting of the caller changes."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONHASHSEED"] = "0"
    done = subprocess.run(
        [*python, "-m", "bench.counts.counting", *words],
        cwd=HERE.parent.parent,
        env=environment,
        check=True,
        stdout=output,
        text=True,
    )
    return done.stdout or ""


def _read(dump: Path) -> tuple[str, int]:
    """The mark of a dump and its instructions."""
    text = dump.read_text()
    mark = re.search(r"^desc: Trigger: (?:Client Request: )?(.*)$", text, re.MULTILINE)
    total = re.search(r"^totals: (\d+)$", text, re.MULTILINE)
    if mark is None or total is None:
        raise SystemExit(f"callgrind wrote a dump without a mark or a total: {text[:500]}")
    return mark[1], int(total[1])


def _for_one(counted: dict[str, dict[int, int]]) -> Counts:
    """Take off what starting and signatures cost."""
    each = {road: (pair[2 * TIMES] - pair[TIMES]) / TIMES for road, pair in counted.items()}
    return {road: round(count - sum(each[part] for part in SIGNATURES.get(road, ()))) for road, count in each.items()}


def _compare(title: str, counts: Counts, expected: Counts) -> list[str]:
    """Print a table; return the roads whose count is another one."""
    print(f"\n{title}, for one, without its signatures")
    other = []
    for road in sorted({*counts, *expected}, key=[*ROADS, *expected].index):
        now, before = counts.get(road), expected.get(road)
        change = now / before - 1 if now is not None and before else None
        shown = "not known before" if change is None else f"{change:+8.2%} of {before:,}"
        print(f"  {road:26}{now if now is not None else 'gone':>12,}   {shown}")
        if change is None or abs(change) > TOLERANCE:
            other.append(f"{title}: {road}")
    return other


def _measure(*, with_instructions: bool) -> dict[str, Counts]:
    measured = bytecodes()
    if with_instructions:
        try:
            measured |= instructions()
        except Missing as missing:
            print(f"INSTRUCTIONS ARE NOT COUNTED: {missing}", file=sys.stderr)
    return measured


def main() -> int:
    """Count, and compare or accept."""
    parser = argparse.ArgumentParser(prog="python -m bench.counts", description="Count the work of a token.")
    parser.add_argument("--accept", action="store_true", help="keep these counts, and drop those of other builds")
    parser.add_argument("--bytecodes", action="store_true", help="leave the instructions out")
    arguments = parser.parse_args()
    expected: dict[str, Counts] = json.loads(EXPECTED.read_text())
    measured = _measure(with_instructions=not arguments.bytecodes)
    other = []
    for title, counts in measured.items():
        if title not in expected:
            print(f"NOT COMPARED: {EXPECTED.name} has no counts of: {title}", file=sys.stderr)
        other += _compare(title, counts, expected.get(title, counts))
    if arguments.accept:
        EXPECTED.write_text(json.dumps(measured, indent=2) + "\n")
        print(f"\n{EXPECTED.name} has them now")
        return 0
    if other:
        print(f"\nMore than {TOLERANCE:.0%} from {EXPECTED.name}, or new:", *other, sep="\n  ", file=sys.stderr)
        print("If that is meant: make counts ARGS=--accept", file=sys.stderr)
    return 1 if other else 0


if __name__ == "__main__":
    sys.exit(main())
