"""The plugin in runs of pytest that have nothing to do with affiant."""

import os
import subprocess
import sys
from pathlib import Path

ENTRY = "[pytest11]\npytest_affiant = pytest_affiant\n"


def test_affiant_may_be_loaded_before_pytest(tmp_path: Path) -> None:
    """As an installed package, whose files pytest marks to be rewritten; ours is installed in another way."""
    files = {"METADATA": "Name: affiant\nVersion: 0\n", "entry_points.txt": ENTRY, "RECORD": "affiant/__init__.py,,\n"}
    installed = tmp_path / "affiant-0.dist-info"
    installed.mkdir()
    for name, text in files.items():
        (installed / name).write_text(text)
    (tmp_path / "test_nothing.py").write_text("def test_nothing(): pass\n")
    program = "import affiant, pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "-q", "-W", "error", "-p", "no:cacheprovider"]
    command += ["-p", "no:schemathesis", "-p", "no:hypothesispytest", "test_nothing.py"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
