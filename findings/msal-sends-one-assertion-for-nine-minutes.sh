#!/usr/bin/env bash
# MSAL for Python signs once and sends that assertion, with its one jti, for nine minutes
#
# Guess:   each token request has a fresh client assertion with a jti of its own, as RFC 7523 section 3 advises.
# Version: msal 1.39.0
# Seen:    the application object keeps an assertion for 540 s (of its lifetime of 600 s). A second token request in
#          that time, for another scope or because the first token was dropped 300 s before its end, repeats the jti.
#          An authorization server that refuses replays refuses these requests.
# So:      give such a client access tokens of 900 s or more; two scopes within nine minutes stay refused.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with msal==1.39.0 cryptography==50.0.0

cat > seen.py <<'PY'
import base64, datetime, json, time

import msal
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

ISSUER = "https://as.example/tenant"
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/jwks",
}
now = [time.time()]
real = time.time
time.time = lambda: now[0]
jtis = []


class Answer:
    def __init__(self, document):
        self.status_code, self.headers, self.text = 200, {}, json.dumps(document)

    def raise_for_status(self):
        pass


class Http:
    """The transport that MSAL lets its user choose: it answers as an authorization server would."""

    def get(self, url, **_):
        return Answer(METADATA)

    def post(self, url, data=None, **_):
        claims = data["client_assertion"].decode().split(".")[1]
        jtis.append(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"])
        return Answer({"access_token": "opaque", "token_type": "Bearer", "expires_in": 600})

    def close(self):
        pass


key = rsa.generate_private_key(65537, 2048)
name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "billing")])
start = datetime.datetime.now(datetime.timezone.utc)
certificate = (
    x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    .not_valid_before(start).not_valid_after(start + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
)
application = msal.ConfidentialClientApplication(
    "billing",
    oidc_authority=ISSUER,
    http_client=Http(),
    client_credential={
        "private_key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        "public_certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
    },
)
begin = now[0]
steps = [(0, "orders.read"), (60, "orders.read"), (305, "orders.read"), (420, "orders.write"), (620, "orders.read")]
for second, scope in steps:
    now[0] = begin + second
    source = application.acquire_token_for_client([scope])["token_source"]
    print(f"{second:3} s, {scope}: {source}, {len(jtis)} requests, {len(set(jtis))} different jti")
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
  0 s, orders.read: identity_provider, 1 requests, 1 different jti
 60 s, orders.read: cache, 1 requests, 1 different jti
305 s, orders.read: identity_provider, 2 requests, 1 different jti
420 s, orders.write: identity_provider, 3 requests, 1 different jti
620 s, orders.read: identity_provider, 4 requests, 2 different jti
SEEN
