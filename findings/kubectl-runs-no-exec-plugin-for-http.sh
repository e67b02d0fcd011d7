#!/usr/bin/env bash
# kubectl runs no credential plugin, and drops a token, for a cluster whose server is http://, without a word
#
# Guess:   the exec plugin of a context's user runs for http and https, or kubectl says that it does not.
# Version: Debian's kubernetes-client 1.20.5+really1.20.2-1.1+deb12u1 (kubectl 1.32.4 does the same)
# Seen:    with http the plugin does not run and the request has no Authorization; after the 401 kubectl says "You must
#          be logged in to the server". A token in the kubeconfig is left out likewise. With https both are sent.
# So:      give a test cluster TLS, and a local proxy in front of a cluster as well.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
debian_with kubernetes-client=1.20.5+really1.20.2-1.1+deb12u1

cat > plugin <<'SH'
#!/bin/sh
echo run >> ran
echo '{"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential", "status": {"token": "made"}}'
SH
chmod +x plugin
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout key.pem -out cert.pem \
    -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 2> /dev/null

cat > seen.py <<'PY'
import json, os, ssl, subprocess, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

here = os.getcwd()


class Cluster(BaseHTTPRequestHandler):
    def do_GET(self):
        seen.add(str(self.headers["Authorization"]))
        body = b"{}"
        self.send_response(200 if self.headers["Authorization"] else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(scheme):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Cluster)
    if scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("cert.pem", "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"{scheme}://127.0.0.1:{server.server_port}"


plugin = {"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": f"{here}/plugin"}}
for scheme in ("http", "https"):
    cluster = {"server": serve(scheme)} | ({"certificate-authority": f"{here}/cert.pem"} if scheme == "https" else {})
    for name, user in (("exec", plugin), ("token", {"token": "written"})):
        seen = set()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        with open("config", "w") as file:
            json.dump(config, file)
        if os.path.exists("ran"):
            os.unlink("ran")
        done = subprocess.run(
            [f"{here}/root/usr/bin/kubectl", "--kubeconfig", "config", "get", "--raw", "/version"],
            env={"HOME": here, "PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60,
        )
        ran = "plugin run" if os.path.exists("ran") else "no plugin run"
        said = done.stderr.partition(" (")[0].strip() or "nothing"
        print(f"{scheme}, {name}: {ran}, Authorization: {', '.join(sorted(seen))}, said: {said}")
PY
python3 seen.py > now.txt
expect now.txt <<'SEEN'
http, exec: no plugin run, Authorization: None, said: error: You must be logged in to the server
http, token: no plugin run, Authorization: None, said: error: You must be logged in to the server
https, exec: plugin run, Authorization: Bearer made, said: nothing
https, token: no plugin run, Authorization: Bearer written, said: nothing
SEEN
