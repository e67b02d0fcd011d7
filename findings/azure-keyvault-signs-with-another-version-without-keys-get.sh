#!/usr/bin/env bash
# azure-keyvault-keys: the permission keys/get decides which version signs after a rotation
#
# Guess:   a CryptographyClient for a key id without version signs with the newest version, as Key Vault's own API does,
#          and SignResult.key_id names the version that signed.
# Version: azure-keyvault-keys 4.11.3
# Seen:    with keys/get the first signature fixes the version for the life of the client. Without it (403) each
#          signature is by the newest version, and key_id has no version; the answer's kid, which has one, is dropped.
# So:      name a version. Otherwise one role assignment changes the key that signs, and no kid can be set from key_id.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with azure-keyvault-keys==4.11.3 azure-core==1.41.0 requests

cat > seen.py <<'PY'
import base64, json, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import RequestsTransport
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

VAULT = "https://v.vault.azure.net"
CHALLENGE = 'Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net"'
POINT = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()


def encode(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class KeyVault(BaseHTTPRequestHandler):
    """As much of Key Vault as is needed. Each byte of a signature is the number of the version that made it."""

    newest, may_get = 1, True

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        version = self.path.partition("?")[0].split("/")[3:4]
        number = int(version[0][-1]) if version and version[0].startswith("v") else KeyVault.newest
        kid = f"{VAULT}/keys/billing/v{number}"
        if not self.headers["Authorization"]:
            status, body = 401, {}
        elif self.command == "POST":
            status, body = 200, {"kid": kid, "value": encode(bytes([number]) * 64)}
        elif not KeyVault.may_get:
            status, body = 403, {"error": {"code": "Forbidden", "message": "no keys/get"}}
        else:
            key = {"kid": kid, "kty": "EC", "crv": "P-256", "key_ops": ["sign"]}
            key |= {"x": encode(POINT.x.to_bytes(32, "big")), "y": encode(POINT.y.to_bytes(32, "big"))}
            status, body = 200, {"key": key, "attributes": {"enabled": True, "created": 1, "updated": 1}}
        data = json.dumps(body).encode()
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", CHALLENGE)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), KeyVault)
threading.Thread(target=server.serve_forever, daemon=True).start()


class ToLoopback(RequestsTransport):
    """The library wants https, and a vault's name, in what it is given."""

    def send(self, request, **options):
        meant, request.url = request.url, request.url.replace(VAULT, f"http://127.0.0.1:{server.server_port}")
        try:
            return super().send(request, **options)
        finally:
            request.url = meant


class Credential:
    def get_token(self, *scopes, **_):
        return AccessToken("t", int(time.time()) + 3600)


for KeyVault.may_get in (True, False):
    KeyVault.newest = 1
    print("with keys/get:" if KeyVault.may_get else "without keys/get:")
    with CryptographyClient(f"{VAULT}/keys/billing", Credential(), transport=ToLoopback()) as client:
        for KeyVault.newest in (1, 2):
            made = client.sign(SignatureAlgorithm.es256, bytes(32))
            print(f"  newest v{KeyVault.newest}: signed by v{made.signature[0]}, key_id {made.key_id}")
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
with keys/get:
  newest v1: signed by v1, key_id https://v.vault.azure.net/keys/billing/v1
  newest v2: signed by v1, key_id https://v.vault.azure.net/keys/billing/v1
without keys/get:
  newest v1: signed by v1, key_id https://v.vault.azure.net/keys/billing
  newest v2: signed by v2, key_id https://v.vault.azure.net/keys/billing
SEEN
