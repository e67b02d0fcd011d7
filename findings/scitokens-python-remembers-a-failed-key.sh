#!/usr/bin/env bash
# The scitokens library for Python remembers for minutes that it did not find a key
#
# Guess:   a token whose kid is not in the JWK Set yet is refused, and taken as soon as the set has it.
# Version: scitokens 1.9.7
# Seen:    after one unknown kid the next attempt fails too, without a request and as a TypeError, although the set has the
#          key by now. A verifier that met a token of a new key a moment early refuses all of that key for five minutes.
# So:      publish a new signing key well before its first token (longer than verifiers cache the set).
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with scitokens==1.9.7 pyjwt==2.15.1 cryptography==50.0.0

cat > seen.py <<'PY'
import json, os, threading, time
from http.server import BaseHTTPRequestHandler, HTTPServer

os.environ["XDG_CACHE_HOME"] = os.environ["HOME"] = os.getcwd()
import jwt
import scitokens
from cryptography.hazmat.primitives.asymmetric import ec

keys, requests = {}, []
for kid in ("first", "second"):
    keys[kid] = ec.generate_private_key(ec.SECP256R1())
published = ["first"]


class As(BaseHTTPRequestHandler):
    def do_GET(self):
        requests.append(self.path)
        if self.path == "/jwks":
            document = {
                "keys": [
                    {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(keys[kid].public_key())), "kid": kid, "alg": "ES256", "use": "sig"}
                    for kid in published
                ]
            }
        else:
            document = {"issuer": issuer, "jwks_uri": f"{issuer}/jwks"}
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), As)
threading.Thread(target=server.serve_forever, daemon=True).start()
issuer = f"http://127.0.0.1:{server.server_port}"
now = int(time.time())


def read(kid, when):
    claims = {"iss": issuer, "sub": "billing", "aud": "https://data.example", "scope": "read:/", "iat": now, "exp": now + 600, "jti": kid}
    token = jwt.encode(claims, keys[kid], "ES256", {"kid": kid})
    before = len(requests)
    try:
        scitokens.SciToken.deserialize(token, audience="https://data.example", insecure=True)
        result = "taken"
    except Exception as error:
        result = type(error).__name__
    print(f"{when}: {result}, requests: {'yes' if len(requests) > before else 'no'}")


read("first", "known key")
read("second", "key not yet published")
published.append("second")
read("second", "key published")
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
known key: taken, requests: yes
key not yet published: MissingKeyException, requests: yes
key published: TypeError, requests: no
SEEN
