#!/usr/bin/env bash
# PyIceberg asks for its next token with the old token in the Authorization header
#
# Guess:   with credential="id:secret" each token request authenticates the client once, by the two form parameters.
# Version: pyiceberg 0.12.0
# Seen:    the first two requests do. After the catalog answered 401, the third has the form parameters and also
#          "Authorization: Bearer OLD-TOKEN" (RFC 6749 section 2.3: a client must not use more than one method). The
#          default scope is "catalog". With auth={"type": "oauth2", ...} each request has Basic alone and no scope.
# So:      configure the auth property; a server that counts Bearer as a client authentication refuses "credential".
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with pyiceberg==0.12.0

cat > seen.py <<'PY'
import json, threading, warnings
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

warnings.simplefilter("ignore")
from pyiceberg.catalog.rest import RestCatalog

lines, refused, issued = [], [], []


class Server(BaseHTTPRequestHandler):
    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        scheme = self.headers.get("authorization", "none").split(" ")[0]
        lines.append(f"form: {', '.join(sorted(form))}; Authorization: {scheme}; scope: {form.get('scope')}")
        issued.append(1)
        token = {"access_token": f"token-{len(issued)}", "token_type": "Bearer", "expires_in": 600}
        self.answer(200, token)

    def do_GET(self):
        if "/namespaces" in self.path and not refused:
            refused.append(1)
            return self.answer(401, {"error": {"message": "expired", "type": "NotAuthorizedException", "code": 401}})
        if "/namespaces" in self.path:
            return self.answer(200, {"namespaces": []})
        self.answer(200, {"defaults": {}, "overrides": {}})

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"
for name, properties in {
    "credential": {"credential": "billing:secret", "oauth2-server-uri": f"{base}/token"},
    "auth": {
        "auth": {
            "type": "oauth2",
            "oauth2": {"client_id": "billing", "client_secret": "secret", "token_url": f"{base}/token"},
        }
    },
}.items():
    lines.clear(), refused.clear()
    RestCatalog("c", uri=base, **properties).list_namespaces()
    print(f"{name}:", *lines, sep="\n  ")
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
credential:
  form: client_id, client_secret, grant_type, scope; Authorization: none; scope: ['catalog']
  form: client_id, client_secret, grant_type, scope; Authorization: none; scope: ['catalog']
  form: client_id, client_secret, grant_type, scope; Authorization: Bearer; scope: ['catalog']
auth:
  form: grant_type; Authorization: Basic; scope: None
  form: grant_type; Authorization: Basic; scope: None
SEEN
