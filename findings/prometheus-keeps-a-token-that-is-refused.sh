#!/usr/bin/env bash
# Prometheus keeps a token that its target refuses, also over a reload, and at first shows the wrong error
#
# Guess:   after 401 from the target, or at the latest after SIGHUP, a job with oauth2 asks for a new token; and the error
#          that /targets shows is what the token endpoint said.
# Version: Debian's prometheus 2.42.0+ds-5+deb12u1 (golang.org/x/oauth2 of that time)
# Seen:    the token is used until its expires_in is over, whatever the target says. SIGHUP with the same configuration
#          keeps it; only a changed oauth2 section asks again. Until the process has had one token, a request that is
#          refused is sent again with the secret in the form, and the error of this second request hides the first.
# So:      give Prometheus's client short tokens, and read the server's log for the true reason of a refusal.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
debian_with prometheus=2.42.0+ds-5+deb12u1

cat > seen.py <<'PY'
import json, signal, socket, subprocess, threading, time, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked, scraped, state = [], [], {"taken": "first", "is_open": False}


class Server(BaseHTTPRequestHandler):
    def answer(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        way = "header" if self.headers.get("authorization") else "form"
        asked.append(way)
        if state["is_open"]:
            self.answer(200, json.dumps({"access_token": state["taken"], "token_type": "Bearer", "expires_in": 600}))
        else:
            error = {"header": "invalid_target", "form": "invalid_client"}[way]
            self.answer(400, json.dumps({"error": error}))

    def do_GET(self):
        token = self.headers["authorization"].split(" ")[1]
        scraped.append(token)
        self.answer(200 if token == state["taken"] else 401, "up_here 1\n", "text/plain")

    def log_message(self, *_):
        pass


def wait(is_done):
    end = time.monotonic() + 50
    while not is_done():
        assert time.monotonic() < end, (asked, scraped)
        time.sleep(0.05)


def scrapes(count):
    before = len(scraped)
    wait(lambda: len(scraped) >= before + count)
    return f"{scraped[-1]} token, asked {len(asked)}"


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
at = f"127.0.0.1:{server.server_port}"
oauth2 = {"client_id": "prometheus", "client_secret": "secret", "token_url": f"http://{at}/token"}
job = {"job_name": "api", "scrape_interval": "1s", "scrape_timeout": "1s", "oauth2": oauth2}
job["static_configs"] = [{"targets": [at]}]
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]


def configure():
    with open("prometheus.yml", "w") as file:
        json.dump({"scrape_configs": [job]}, file)


def is_reloaded(since):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        lines = page.read().decode().splitlines()
    (line,) = [each for each in lines if each.startswith("prometheus_config_last_reload_success_timestamp_seconds ")]
    return float(line.split(" ")[1]) > since


def reload():
    since = time.time()
    process.send_signal(signal.SIGHUP)
    wait(lambda: is_reloaded(since))


def last_error():
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/targets") as answer:
        (target,) = json.load(answer)["data"]["activeTargets"]
    return next((name for name in ("invalid_target", "invalid_client") if name in target["lastError"]), "")


configure()
command = ["root/usr/bin/prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"]
process = subprocess.Popen(command + [f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
try:
    wait(lambda: len(asked) >= 4 and last_error())
    print("no token yet:", *asked[:2], "| shown:", last_error())
    state["is_open"] = True
    scrapes(1)
    asked.clear()
    print("taken:", scrapes(1))
    state["taken"] = "second"
    print("refused:", scrapes(4))
    reload()
    print("reloaded:", scrapes(3))
    state["is_open"] = False
    oauth2["scopes"] = ["metrics"]
    configure()
    reload()
    wait(lambda: len(asked) >= 2 and last_error())
    print("changed:", *asked[:2], "| shown:", last_error())
finally:
    process.kill(), process.wait()
PY
python3 seen.py > now.txt
expect now.txt <<'SEEN'
no token yet: header form | shown: invalid_client
taken: first token, asked 0
refused: first token, asked 0
reloaded: first token, asked 0
changed: header header | shown: invalid_target
SEEN
