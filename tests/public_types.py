"""`python -m tests.public_types`: every type of the public API is known to the type checker of whoever uses it.

mypy checks that the types are right, with what it infers; another checker may infer something else. This prints where a
user would depend on that, as `basedpyright --verifytypes` does, and ends with 1.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parent.parent / "src"
# No API, or of a base class that has no types itself.
LEFT_OUT = ("affiant.cli.", "affiant.resource.frameworks.django.rest_framework.Refused")


def main() -> None:
    """Print what is not known."""
    found = [
        f"{_place(one)}{symbol['name']}: {one['message']}"
        for symbol in _report()["typeCompleteness"]["symbols"]
        for one in symbol["diagnostics"]
        if one.get("severity") == "error" and not symbol["name"].startswith(LEFT_OUT)
    ]
    sys.exit("\n".join(found) or None)


def _report() -> Any:
    folder = Path(sys.executable).parent
    words = ("--verifytypes", "affiant", "--ignoreexternal", "--outputjson")
    # It asks the first `python` for the folder of packages.
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [folder / "basedpyright", *words], cwd=SOURCE, env=environment, capture_output=True, text=True, check=False
    )
    found = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    if found.get("generalDiagnostics") != [] or not found["typeCompleteness"]["symbols"]:  # it found no package
        sys.exit(done.stdout + done.stderr)
    return found


def _place(found: dict[str, Any]) -> str:
    if not found.get("file"):
        return ""
    return f"{os.path.relpath(found['file'])}:{found['range']['start']['line'] + 1}: "


if __name__ == "__main__":
    main()
