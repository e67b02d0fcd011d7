"""The tests on docs/how-to/testing.md, run as a reader would run them."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "testing.md").read_text("utf-8")
OF_AN_API, OF_A_SERVER = PAGE.split("\n## Test with a real server\n")
API = """
from typing import Annotated

from fastapi import Depends, FastAPI

from affiant import Caller, Guard

guard = Guard("https://as.example", audience="https://orders.example")
app = FastAPI()


@app.get("/orders")
def show(caller: Annotated[Caller, Depends(guard("orders.read"))]) -> str:
    return caller.client_id
"""
# A reader of the first part has no server.
NO_SERVER = (
    "import sys\n\nsys.modules.update({'affiant.server': None, 'affiant.storage': None, 'affiant.client': None})\n"
)


def test_tests_of_an_api(tmp_path: Path) -> None:
    (tmp_path / "orders.py").write_text(API)
    (tmp_path / "conftest.py").write_text(NO_SERVER)
    assert "2 passed" in run(OF_AN_API, tmp_path, "-p", "no:anyio")


def test_tests_with_a_server(tmp_path: Path) -> None:
    assert "14 passed" in run(OF_A_SERVER, tmp_path)


def run(page: str, folder: Path, *options: str) -> str:
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (folder / "test_page.py").write_text("\n\n".join(blocks))
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options]
    command += ["-p", "no:schemathesis", "-p", "no:hypothesispytest", "test_page.py"]  # a reader has neither
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
