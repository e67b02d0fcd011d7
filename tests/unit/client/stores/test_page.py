"""docs/how-to/token-stores.md: every store, twice, makes one request."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests import redis_server
from tests.redis_server import RedisServer
from tests.unit.client.conftest import Foreign

from affiant.client.credentials.file import Credentials
from affiant.jose.keys import PrivateKey

PAGE = Path(__file__).resolve().parents[4] / "docs" / "how-to" / "token-stores.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
LINES = 12


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.findall(r"import (\w+)", block)[-1])
def test_the_page_runs(foreign: Foreign, key: PrivateKey, tmp_path: Path, block: str) -> None:
    assert len([line for line in block.splitlines() if line]) <= LINES
    Credentials(foreign.url, "billing", "private_key_jwt", key=key.to_jwk()).write(tmp_path / "billing.affiant.json")
    server = RedisServer(tmp_path)
    if "redis://" in block:
        if redis_server.PROGRAM is None:
            pytest.skip(redis_server.MISSING)
        server.start()
        block = block.replace("redis://127.0.0.1:6379/0", server.url)
    made = subprocess.run(["openssl", "rand", "-base64", "32"], capture_output=True, text=True, check=True).stdout
    environment = {
        **os.environ,
        "TOKEN_STORE_KEY": made,
        "XDG_CACHE_HOME": str(tmp_path),
        "FILE_KEYRING": str(tmp_path / "keyring"),
        "PYTHON_KEYRING_BACKEND": "tests.unit.client.stores.file_keyring.FileKeyring",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    printed = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", block],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        for _ in range(2)
    ]
    server.kill()
    assert [done.stderr for done in printed] == ["", ""]
    is_shared = "Table" not in block  # a dictionary is not
    assert [done.stdout for done in printed] == ["token-1\n", "token-1\n" if is_shared else "token-2\n"]
