#!/usr/bin/env bash
# Two Prometheus jobs at one token endpoint share one way to authenticate
#
# Guess:   each scrape job with an oauth2 section finds out by itself whether its client's secret goes into the
#          Authorization header or into the form.
# Version: Debian's prometheus 2.42.0+ds-5+deb12u1 (golang.org/x/oauth2 of that time)
# Seen:    the process remembers the way by the token URL. The first job finds Basic out; a second job, whose client
#          must send its secret in the form, is then refused at every scrape, as it never tries the form. Alone in its
#          process the same job is refused once and then served.
# So:      register all Prometheus clients of one server with one method, client_secret_basic.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
debian_with prometheus=2.42.0+ds-5+deb12u1

cat > seen.py <<'PY'
import base64, json, socket, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

asked, scraped = [], []
WAYS = {"by-header": "header", "by-form": "form"}  # what each client is registered for


class Server(BaseHTTPRequestHandler):
    def answer(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        header = self.headers.get("authorization", "")
        if header:
            client, way = base64.b64decode(header.split(" ")[1]).decode().split(":")[0], "header"
        else:
            client, way = form["client_id"][0], "form"
        asked.append((client, way))
        if way == WAYS[client]:
            self.answer(200, json.dumps({"access_token": client, "token_type": "Bearer", "expires_in": 600}))
        else:
            self.answer(401, '{"error": "invalid_client"}')

    def do_GET(self):
        scraped.append(self.headers["authorization"].split(" ")[1])
        self.answer(200, "up_here 1\n", "text/plain")

    def log_message(self, *_):
        pass


def run(jobs, until):
    """The ways that each job's client tried, once `until` holds."""
    asked.clear(), scraped.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = f"127.0.0.1:{server.server_port}"
    sections = []
    for job in jobs:
        sections.append(
            {
                "job_name": job,
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "static_configs": [{"targets": [at]}],
                "oauth2": {"client_id": job, "client_secret": "secret", "token_url": f"http://{at}/token"},
            }
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open("prometheus.yml", "w") as file:
        json.dump({"scrape_configs": sections[:1]}, file)
    command = ["root/usr/bin/prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--web.enable-lifecycle"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        if len(jobs) > 1:  # the second job comes once the first is served
            wait(lambda: jobs[0] in scraped)
            with open("prometheus.yml", "w") as file:
                json.dump({"scrape_configs": sections}, file)
            subprocess.run(["kill", "-HUP", str(process.pid)], check=True)
        wait(until)
    finally:
        process.kill(), process.wait(), server.shutdown()
    ways = [way for client, way in asked if client == "by-form"]
    return ways, "by-form" in scraped


def wait(is_done):
    end = time.monotonic() + 60
    while not is_done():
        assert time.monotonic() < end, (asked, scraped)
        time.sleep(0.05)


ways, is_served = run(["by-form"], lambda: "by-form" in scraped)
print("alone:", ", ".join(ways[:2]), "| served:", is_served)
ways, is_served = run(["by-header", "by-form"], lambda: len([1 for client, _ in asked if client == "by-form"]) >= 5)
print("second:", ", ".join(ways[:5]), "| served:", is_served)
PY
python3 seen.py > now.txt
expect now.txt <<'SEEN'
alone: header, form | served: True
second: header, header, header, header, header | served: False
SEEN
