"""A real PgBouncer for the tests, before the PostgreSQL that they use."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.loopback import free_port

MISSING = "no PgBouncer to test with: install it (Debian, Ubuntu: pgbouncer)"
PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
# What PgBouncer needs to run; everything that is not here is its default.
_CONFIGURATION = """\
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
"""


@contextlib.contextmanager
def before(url: str, *, mode: str) -> Iterator[str]:
    """Run a PgBouncer in this mode before the database of this URL, and yield the URL through it."""
    assert PROGRAM is not None
    parts = urlsplit(url)
    listen = free_port()
    with tempfile.TemporaryDirectory(prefix="affiant-pgbouncer-") as folder:
        path = Path(folder) / "pgbouncer.ini"
        words = {"host": parts.hostname, "port": parts.port, "user": parts.username, "password": parts.password}
        path.write_text(_CONFIGURATION.format(listen=listen, mode=mode, **words))
        user = None
        if os.geteuid() == 0:  # PgBouncer refuses to run as root
            user = pwd.getpwnam("nobody").pw_uid
            shutil.chown(folder, user)
            shutil.chown(path, user)
        with subprocess.Popen(
            [PROGRAM, str(path)], user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                _wait(process, listen)
                yield f"postgresql://affiant@127.0.0.1:{listen}{parts.path}"
            finally:
                process.kill()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.02)
    raise AssertionError(f"PgBouncer does not listen; its exit code is {process.poll()}")
