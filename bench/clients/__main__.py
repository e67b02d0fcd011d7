"""Client libraries side by side: what each sends, how often, and what its caller gets.

Each library runs in a process of its own, against one authorization server and API, which count. A cell in brackets is
wrong.

Usage: python -m bench.clients [--ours] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench import installed
from bench.clients import experiments, world
from bench.clients.experiments import EXPERIMENTS, Experiment

OURS = ("affiant_httpx2", "affiant_httpx2_async", "affiant_requests", "affiant_aiohttp")
THEIRS = (
    "authlib_requests",
    "authlib_httpx_async",
    "google_auth",
    "httpx_auth",
    "httpx_auth_async",
    "mcp",
    "msal",
    "requests_oauth2client",
)


def cell(python: str, library: str, experiment: Experiment) -> dict[str, Any]:
    """Run one experiment with one library, in a world of its own."""
    with world.serving() as at:
        seen = experiments.run(at, python, library, experiment)
        return {"shown": experiment.show(seen), "right": experiment.is_right(seen)}


def main() -> None:
    """Print the table, and write it into a file."""
    parser = argparse.ArgumentParser(prog="python -m bench.clients", description="Compare client libraries.")
    parser.add_argument(
        "--ours", action="store_true", help="without the libraries of others, which are installed first"
    )
    parser.add_argument("--json", type=Path, default=Path("bench-clients.json"), help="where all of it goes")
    arguments = parser.parse_args()
    interpreters = dict.fromkeys(OURS, sys.executable)
    if not arguments.ours:
        interpreters |= dict.fromkeys(THEIRS, str(installed.clients()))
    table = {
        library: {experiment.name: cell(python, library, experiment) for experiment in EXPERIMENTS}
        for library, python in interpreters.items()
    }
    for experiment in EXPERIMENTS:
        print(f"\n{experiment.name}")
        for library, cells in table.items():
            found = cells[experiment.name]
            shown = f"[{found['shown']}]" if found["right"] is False else found["shown"]
            print(f"    {library:24} {shown}")
    print()
    for library, cells in table.items():
        judged = [found["right"] for found in cells.values() if found["right"] is not None]
        print(f"{library:28} right in {sum(judged)} of {len(judged)}")
    arguments.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
