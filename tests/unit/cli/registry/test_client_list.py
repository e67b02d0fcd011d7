"""`affiant client list` loads only the modules it needs: users wait for the imports every time."""

import subprocess
import sys
from pathlib import Path

from affiant.cli.connection.data import load, with_new_store

PROGRAM = """
import sys
from affiant.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules)
"""


async def _nothing(*_: object) -> None:
    pass


def test_nothing_is_loaded_that_authenticates_clients_or_fetches_their_keys(tmp_path: Path) -> None:
    with_new_store(load(data=tmp_path / "affiant-data"), _nothing)
    command = [sys.executable, "-c", PROGRAM, "client", "list"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    printed, loaded = done.stdout.splitlines()
    assert printed.startswith("no clients")
    unwanted = {"affiant.server.client_auth.ladder", "affiant.server.registry.fetch", "httpcore2", "httpx2"}
    assert not unwanted & set(loaded.split())
