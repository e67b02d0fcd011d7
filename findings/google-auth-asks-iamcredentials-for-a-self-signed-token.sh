#!/usr/bin/env bash
# google-auth sends a request to iamcredentials.googleapis.com although the service account signs its own token
#
# Guess:   a key file with a self-signed JWT, the default of Google's client libraries, needs no server but the API.
# Version: google-auth 2.62.2, google-cloud-kms 3.18.0
# Seen:    the API gets its request, and a background thread asks iamcredentials.googleapis.com for the account's
#          allowedLocations, also with GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED=false. With another universe_domain in the key
#          file there is no such request.
# So:      admit both hosts in a firewall, or expect its log to show the attempts; calls of the API do not wait for them.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with google-auth==2.62.2 google-cloud-kms==3.18.0 requests==2.34.2 cryptography==50.0.0

cat > seen.py <<'PY'
import json, os, sys, threading, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

os.environ["GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED"] = "false"
key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
account = {"type": "service_account", "project_id": "p", "private_key_id": "1", "private_key": key, "client_id": "1"}
account |= {"client_email": "x@p.example", "token_uri": "https://oauth2.googleapis.com/token"}
account |= {"universe_domain": sys.argv[1]}
with open("account.json", "w") as file:
    json.dump(account, file)
os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = "account.json"
send, others = requests.adapters.HTTPAdapter.send, set()


def watch(adapter, request, **options):
    url = urlsplit(request.url)
    if url.hostname == "127.0.0.1":
        return send(adapter, request, **options)
    others.add(f"{url.hostname}/.../{url.path.rpartition('/')[2]}")
    raise requests.ConnectionError("not from this script")


requests.adapters.HTTPAdapter.send = watch


class Kms(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"name": "x", "pem": "PEM"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Kms)
threading.Thread(target=server.serve_forever, daemon=True).start()
from google.cloud.kms_v1 import KeyManagementServiceClient

options = {"api_endpoint": f"http://127.0.0.1:{server.server_port}", "universe_domain": sys.argv[1]}
client = KeyManagementServiceClient(transport="rest", client_options=options)
name = "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
answer = client.get_public_key(request={"name": name}).pem
end = time.monotonic() + 5
while not others and time.monotonic() < end:
    time.sleep(0.05)
print(f"{sys.argv[1]}: the API's answer: {answer}, other requests:", *sorted(others or ["none"]))
os._exit(0)  # the thread would try again
PY
"$python" -u seen.py googleapis.com > now.txt 2> err.txt
"$python" -u seen.py cloud.example >> now.txt 2>> err.txt
expect now.txt <<'SEEN'
googleapis.com: the API's answer: PEM, other requests: iamcredentials.googleapis.com/.../allowedLocations
cloud.example: the API's answer: PEM, other requests: none
SEEN
