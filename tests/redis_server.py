"""A server of the Redis protocol for tests: redis-server or valkey-server, on a socket in a folder of the test's own."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server")
MISSING = "neither valkey-server nor redis-server is installed: apt-get install redis-server"
READY_SECONDS = 20


class RedisServer:
    """It keeps nothing on disk, so that one which was killed begins empty."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self.path = str(self._socket)
        self.url = f"unix://{self._socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        assert PROGRAM is not None, MISSING
        settings = ("--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly", "no", *options)
        self._process = subprocess.Popen([PROGRAM, *settings], stdout=subprocess.DEVNULL)
        end = time.monotonic() + READY_SECONDS
        while not self._listens():
            assert self._process.poll() is None, f"it ended with {self._process.returncode}"
            assert time.monotonic() < end, "it does not listen"
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._socket)) == 0
