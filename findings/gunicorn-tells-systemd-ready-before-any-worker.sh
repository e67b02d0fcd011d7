#!/usr/bin/env bash
# gunicorn tells systemd READY=1 before any worker has loaded the application
#
# Guess:   under Type=notify, a unit is "active" once gunicorn can answer; an application that cannot start fails
#          `systemctl start`, and units with After= wait for it.
# Version: gunicorn 27.0.1
# Seen:    READY=1 is sent when the sockets are open. An application that raises at import is reported ready, and ends
#          the process afterwards (exit code 3). Only --preload loads the application first, and then nothing is sent.
# So:      a guard or any other API that must have its configuration: --preload, or ask the API itself (a health check)
#          before the next step of a deployment.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with gunicorn==27.0.1

cat > fails.py <<'PY'
import pathlib

pathlib.Path("loaded").touch()
raise RuntimeError("no configuration")
PY
cat > ask.py <<'PY'
import os, pathlib, socket, subprocess, sys


def told(*options):
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind("notify")
    command = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", *options, "fails:app"]
    environment = {**os.environ, "NOTIFY_SOCKET": os.path.abspath("notify")}
    server = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        code = server.wait(50)
    finally:
        server.kill()
    listening.setblocking(False)
    lines = []
    try:
        while True:
            lines += [line for line in listening.recv(4096).decode().splitlines() if not line.startswith("STATUS=")]
    except BlockingIOError:
        pass
    pathlib.Path("notify").unlink()
    return ", ".join(lines) or "nothing", code


for options in ((), ("--preload",)):
    lines, code = told(*options)
    print(*options or ("-",), f"told: {lines}", f"exit code {code}", sep=" | ")
PY
"$python" ask.py > now.txt
expect now.txt <<'SEEN'
- | told: READY=1 | exit code 3
--preload | told: nothing | exit code 1
SEEN
