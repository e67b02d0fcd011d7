#!/usr/bin/env bash
# pip --keyring-provider subprocess passes over the command keyring that is installed next to pip
#
# Guess:   the first command `keyring` on the PATH is asked. In an activated environment this is the environment's own.
# Version: pip 25.3
# Seen:    a `keyring` in the folder of pip's own command is passed over without a word, and the index gets the user name
#          with an empty password. One in another folder, later on the PATH, is asked, and only if the URL of the index
#          has a user name.
# So:      keep the command that answers for pip in a folder of its own, and write https://USER@HOST/simple.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with pip==25.3

cat > seen.py <<'PY'
import base64, os, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PROVIDER = ("--keyring-provider", "subprocess")
here, given = Path.cwd(), []


class Index(BaseHTTPRequestHandler):
    def do_GET(self):
        user, _, password = base64.b64decode((self.headers["Authorization"] or "")[6:]).decode().partition(":")
        if user:
            given.append(f"{user}:{password}")
        body = b"<!DOCTYPE html><title>orders</title>" if password else b""
        self.send_response(200 if password else 401)
        self.send_header("WWW-Authenticate", 'Basic realm="index"')
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def install(folder):
    path = here / folder / "keyring"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho token-of-{folder.split('/')[0]}\n")
    path.chmod(0o755)


server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
threading.Thread(target=server.serve_forever, daemon=True).start()
path = f"{here}/venv/bin:{here}/other:/usr/bin:/bin"


def ask(user):
    given.clear()
    url = f"http://{user}127.0.0.1:{server.server_port}/simple"
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--isolated", "--no-input", "download", "--index-url", url, *PROVIDER, "orders"],
        env={"PATH": path, "HOME": str(here)}, capture_output=True, text=True, timeout=60,
    )
    said = "keyring is mentioned" if "keyring" in done.stdout + done.stderr else "no word of keyring"
    return f"{' then '.join(dict.fromkeys(given)) or 'nothing'}; {said}"


install("venv/bin")
print("keyring next to pip:", ask("billing@"))
install("other")
print("and another one, later on the PATH:", ask("billing@"))
print("no user name in the URL:", ask(""))
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
keyring next to pip: billing:; no word of keyring
and another one, later on the PATH: billing: then billing:token-of-other; no word of keyring
no user name in the URL: nothing; no word of keyring
SEEN
