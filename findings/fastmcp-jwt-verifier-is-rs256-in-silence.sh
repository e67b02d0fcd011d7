#!/usr/bin/env bash
# FastMCP's JWTVerifier refuses every ES256 token without a word unless it is told ES256
#
# Guess:   a verifier with a jwks_uri takes the algorithm from the key that the token's kid names, or says in its log
#          that the algorithm is not the expected one.
# Version: fastmcp 4.1.7
# Seen:    the default is RS256. An ES256 token whose key is at the jwks_uri gives None, with no line in the log at
#          INFO. With algorithm="ES256" the same token is taken. "ML-DSA-44" is a ValueError when the verifier is made.
# So:      say algorithm= and audience= where an MCP server verifies tokens by FastMCP.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with fastmcp==4.1.7 pyjwt==2.15.1

cat > seen.py <<'PY'
import asyncio, json, logging, threading, time
from http.server import BaseHTTPRequestHandler, HTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from fastmcp.server.auth.providers.jwt import JWTVerifier

key = ec.generate_private_key(ec.SECP256R1())
jwk = {**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "k", "alg": "ES256", "use": "sig"}
records = []


class Jwks(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"keys": [jwk]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Keep(logging.Handler):
    def emit(self, record):
        records.append(record.name)


server = HTTPServer(("127.0.0.1", 0), Jwks)
threading.Thread(target=server.serve_forever, daemon=True).start()
issuer = f"http://127.0.0.1:{server.server_port}"
for name in ("", "fastmcp", "FastMCP"):
    logger = logging.getLogger(name)
    logger.addHandler(Keep()), logger.setLevel(logging.INFO)
claims = {"iss": issuer, "sub": "billing", "client_id": "billing", "aud": "https://orders.example", "scope": "orders.read"}
now = int(time.time())
token = jwt.encode({**claims, "iat": now, "exp": now + 300, "jti": "1"}, key, "ES256", {"kid": "k", "typ": "at+jwt"})


async def verify(**more):
    verifier = JWTVerifier(jwks_uri=f"{issuer}/jwks", issuer=issuer, audience="https://orders.example", **more)
    records.clear()
    taken = await verifier.verify_token(token)
    said = [name for name in records if "fastmcp" in name.lower()]
    print(more, "taken" if taken else "None", "| lines of the log:", len(said))


asyncio.run(verify())
asyncio.run(verify(algorithm="ES256"))
try:
    JWTVerifier(jwks_uri=f"{issuer}/jwks", algorithm="ML-DSA-44")
except ValueError:
    print("ML-DSA-44: ValueError")
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
{} None | lines of the log: 0
{'algorithm': 'ES256'} taken | lines of the log: 0
ML-DSA-44: ValueError
SEEN
