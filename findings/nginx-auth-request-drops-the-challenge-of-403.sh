#!/usr/bin/env bash
# nginx's auth_request passes the challenge of a 401 on and drops that of a 403
#
# Guess:   what the authorization subrequest answers with 401 or 403 reaches the client with its WWW-Authenticate.
# Version: Debian's nginx 1.22.1-9+deb12u11
# Seen:    a 401 keeps WWW-Authenticate, a 403 loses it: a client never learns which scope it lacks (RFC 6750 section
#          3.1, insufficient_scope). 429 and 503 of the subrequest become 500.
# So:      copy it with auth_request_set and a named location for 403.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
debian_with nginx=1.22.1-9+deb12u11

cat > seen.py <<'PY'
import http.client, os, socket, subprocess, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Guard(BaseHTTPRequestHandler):
    """The status is in the path: /401."""

    def do_GET(self):
        self.send_response(int(self.path[1:]) if self.path != "/api" else 200)
        self.send_header("WWW-Authenticate", 'Bearer error="insufficient_scope", scope="orders.write"')
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


guard = ThreadingHTTPServer(("127.0.0.1", 0), Guard)
threading.Thread(target=guard.serve_forever, daemon=True).start()
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
here = os.getcwd()
paths = "".join(f"{kind}_temp_path {here}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
inner = "".join(
    f"location /{status}/ {{ auth_request /judge{status}; proxy_pass http://127.0.0.1:{guard.server_port}/api; }}"
    f"location = /judge{status} {{ internal; proxy_pass http://127.0.0.1:{guard.server_port}/{status}; }}"
    for status in (401, 403, 429, 503)
)
kept = (
    "location /kept/ { auth_request /judge403; auth_request_set $why $upstream_http_www_authenticate;"
    f" error_page 403 = @kept; proxy_pass http://127.0.0.1:{guard.server_port}/api; }}"
    "location @kept { add_header WWW-Authenticate $why always; return 403; }"
)
with open("nginx.conf", "w") as file:
    file.write(
        f"daemon off; master_process off; pid {here}/pid; error_log {here}/error.log; events {{}}"
        f"http {{ access_log off; {paths} server {{ listen 127.0.0.1:{port}; {inner} {kept} }} }}"
    )
process = subprocess.Popen(["root/usr/sbin/nginx", "-c", f"{here}/nginx.conf", "-e", f"{here}/error.log"])
try:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)
    for name in ("401", "403", "429", "503", "kept"):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", f"/{name}/")
        answer = connection.getresponse()
        print(f"{name}: {answer.status}, challenge: {'yes' if answer.headers['WWW-Authenticate'] else 'no'}")
finally:
    process.kill(), process.wait()
PY
python3 seen.py > now.txt
expect now.txt <<'SEEN'
401: 401, challenge: yes
403: 403, challenge: no
429: 500, challenge: no
503: 500, challenge: no
kept: 403, challenge: yes
SEEN
