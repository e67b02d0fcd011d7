"""The acceptance grid and the challenge table: affiant in each web framework, next to the verifiers of others.

Every subject is asked about the same tokens, signed when this starts. `--speed` measures the time of a check instead.

Usage: python -m bench.guards [--ours] [--speed] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import installed
from bench.guards import challenges, grid, roads, rows, speed, tokens
from bench.guards.grid import Column
from bench.guards.roads import JOINING

PEERS = installed.PEERS / "verifiers.py"


def _ask_peers(asked: list[rows.Row]) -> dict[str, Any]:
    wanted = {
        "issuer": tokens.ISSUER,
        "audience": tokens.API,
        "scope": tokens.SCOPE,
        "jwks": tokens.JWKS,
        "tokens": [row.token for row in asked],
        "requests": [wanted.authorization for wanted in challenges.requests()],
    }
    command = [str(installed.verifiers()), str(PEERS)]
    done = subprocess.run(command, input=json.dumps(wanted), capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _print_columns(columns: Iterable[Column]) -> None:
    words = ("rows", "accepted", "refused", "wrong", "let in", "kept out", "raised")
    print(f"{'':28}" + "".join(f"{word:>10}" for word in words))
    for column in columns:
        failed = len(column.failed)
        refused = column.asked - column.accepted - failed
        let_in, kept_out = len(column.wrongly_accepted), len(column.wrongly_refused)
        cells = (column.asked, column.accepted, refused, column.wrong, let_in, kept_out, failed)
        print(f"{column.name:28}" + "".join(f"{cell:>10}" for cell in cells))
    for column in columns:
        for word, names in (("let in", column.wrongly_accepted), ("kept out", column.wrongly_refused)):
            if names:
                print(f"\n{column.name} {word}: {'; '.join(names)}")
        if column.failed:
            print(f"\n{column.name} raised: {column.failed}")


def _print_challenges(table: dict[str, dict[str, list[str]]]) -> None:
    print(f"\n{'challenges':28}{'answers':>10}{'wrong':>10}{'lacking':>10}")
    for name, answers in table.items():
        faults = {request: faults for request, faults in answers.items() if faults}
        lacking = sum(all(fault.startswith("(") for fault in each) for each in faults.values())
        print(f"{name:28}{len(answers):>10}{len(faults) - lacking:>10}{lacking:>10}")
        for request, each in faults.items():
            print(f"    {request}: {', '.join(each)}")


def _grid(*, with_peers: bool) -> dict[str, Any]:
    everything, shared = rows.everything(), list(rows.a4())
    mine = [grid.ours(name, road, everything) for name, road in roads.ROADS.items()]
    told = {name: dict(challenges.ours(road, joins_headers=name in JOINING)) for name, road in roads.ROADS.items()}
    theirs = list[Column]()
    if with_peers:
        found = _ask_peers(shared)
        for name, verdicts in found["verdicts"].items():
            theirs.append(grid.theirs(name, zip(shared, verdicts, strict=True)))
        for name, answers in found["answers"].items():
            told[name] = {
                wanted.name: challenges.faults(wanted, answer["status"], answer["challenge"])
                for wanted, answer in zip(challenges.requests(), answers, strict=True)
            }
    print("affiant: every row")
    _print_columns(mine)
    if with_peers:
        print("\nothers: the rows of ordinary tokens")
        _print_columns(theirs)
    _print_challenges(told)
    return {"affiant": [asdict(each) for each in mine], "others": [asdict(each) for each in theirs], "challenges": told}


def _speed() -> dict[str, Any]:
    found = list(speed.measure())
    for row in found:
        rest = ", ".join(f"{name} {value}" for name, value in row.items() if name not in ("what", "cpu_us"))
        print(f"{row['what']:34}{row['cpu_us']:>10} us  {rest}")
    return {"speed": found}


def main() -> None:
    """Print the tables, and write all of it into one file."""
    parser = argparse.ArgumentParser(prog="python -m bench.guards", description="Compare guards, cell by cell.")
    parser.add_argument(
        "--ours", action="store_true", help="without the verifiers of others, which are installed first"
    )
    parser.add_argument("--speed", action="store_true", help="measure the time of a check instead")
    parser.add_argument("--json", type=Path, default=Path("bench-guards.json"), help="where all of it goes")
    arguments = parser.parse_args()
    roads.be_quiet()
    found = _speed() if arguments.speed else _grid(with_peers=not arguments.ours)
    arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\nAll of it: {arguments.json}")


if __name__ == "__main__":
    main()
