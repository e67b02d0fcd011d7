"""Modules that `import affiant` loads: it must not slow down programs that request no token."""

import subprocess
import sys

SLOW = {"asyncio", "concurrent.futures", "cryptography", "httpx2", "logging", "msgspec", "pathlib", "random", "ssl"}


def test_service_is_imported_without_what_its_requests_need() -> None:
    program = "import sys, affiant\naffiant.Service\nprint(*sys.modules)"
    # -S: the files *.pth of an environment load modules, too.
    command = [sys.executable, "-S", "-c", f"import sys\nsys.path[:0] = {[p for p in sys.path if p]!r}\n{program}"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not SLOW & set(loaded)
    ours = [name for name in loaded if name.partition(".")[0] == "affiant"]
    assert len(ours) <= 18, ours
