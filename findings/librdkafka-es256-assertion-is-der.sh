#!/usr/bin/env bash
# librdkafka signs an ES256 assertion with a DER signature
#
# Guess:   with sasl.oauthbearer.assertion.algorithm=ES256 the JWT has the 64-byte signature of RFC 7518 section 3.4.
# Version: confluent-kafka 2.16.1 (librdkafka 2.16.0)
# Seen:    the signature is a DER SEQUENCE of 70 to 72 bytes, as OpenSSL returns it. Verifiers that keep to RFC 7518
#          refuse every such assertion. With RS256 the same configuration gives a good one.
# So:      register Kafka clients with RS256.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with confluent-kafka==2.16.1 cryptography==50.0.0

cat > seen.py <<'PY'
import base64, json, logging, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

from confluent_kafka import Producer
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

caught = threading.Event()
forms = []


class Endpoint(BaseHTTPRequestHandler):
    def do_POST(self):
        forms.append(parse_qs(self.rfile.read(int(self.headers["content-length"])).decode()))
        self.send_response(400)
        self.end_headers()
        caught.set()

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Endpoint)
threading.Thread(target=server.serve_forever, daemon=True).start()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sign(alg, key):
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    caught.clear()
    producer = Producer(
        {
            "bootstrap.servers": "127.0.0.1:1",
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanisms": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.grant.type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "sasl.oauthbearer.token.endpoint.url": f"http://127.0.0.1:{server.server_port}/token",
            "sasl.oauthbearer.assertion.algorithm": alg,
            "sasl.oauthbearer.assertion.private.key.pem": pem,
            "sasl.oauthbearer.assertion.claim.iss": "billing",
            "sasl.oauthbearer.assertion.claim.sub": "billing",
            "sasl.oauthbearer.assertion.claim.aud": "https://as.example",
        },
        logger=logging.getLogger("quiet"),
    )
    producer.poll(0)
    assert caught.wait(30), "no request to the token endpoint"
    head, claims, signature = forms[-1]["assertion"][0].split(".")
    return f"{head}.{claims}".encode(), decode(signature), json.loads(decode(head))


key = ec.generate_private_key(ec.SECP256R1())
signed, signature, header = sign("ES256", key)
print("ES256 header alg:", header["alg"])
print("ES256 signature is 64 bytes:", len(signature) == 64)
key.public_key().verify(signature, signed, ec.ECDSA(hashes.SHA256()))
print("ES256 signature verifies as DER: True")

key = rsa.generate_private_key(65537, 2048)
signed, signature, header = sign("RS256", key)
key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
print("RS256 signature verifies: True")
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
ES256 header alg: ES256
ES256 signature is 64 bytes: False
ES256 signature verifies as DER: True
RS256 signature verifies: True
SEEN
