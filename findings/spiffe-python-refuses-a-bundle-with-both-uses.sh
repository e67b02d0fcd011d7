#!/usr/bin/env bash
# The Python package spiffe refuses the bundle of a SPIFFE bundle endpoint: its X.509 keys have no kid
#
# Guess:   JwtBundle.parse takes the document of a bundle endpoint and keeps its keys for jwt-svid. Such a document has
#          keys of both uses; SPIFFE asks a kid only of those for jwt-svid; a chain needs none.
# Version: spiffe 0.3.2 (HPE's py-spiffe), PyJWT 2.15.1
# Seen:    ParseJWTBundleError, '"keyID" cannot be empty', for the first key for x509-svid. With the keys for jwt-svid
#          alone the document is taken and the SVID verified.
# So:      choose the keys by "use" before JwtBundle.parse, or take the bundle from the Workload API, which separates them.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with spiffe==0.3.2 pyjwt==2.15.1 cryptography==50.0.0

cat > seen.py <<'PY'
import base64, datetime, json, time

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from spiffe import JwtBundle, JwtSvid, TrustDomain

domain = "spiffe://td.example"


def jwk(key, **members):
    return json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())) | members


authority, signer = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
start = datetime.datetime.now(datetime.timezone.utc)
certificate = (
    x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([])).serial_number(1)
    .public_key(authority.public_key()).not_valid_before(start).not_valid_after(start + datetime.timedelta(days=1))
    .add_extension(x509.BasicConstraints(True, None), True)
    .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(domain)]), True)
    .sign(authority, hashes.SHA256())
)
chain = [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()]
keys = [jwk(authority, use="x509-svid", x5c=chain), jwk(signer, use="jwt-svid", kid="1")]
claims = {"sub": f"{domain}/billing", "aud": "x", "exp": int(time.time()) + 300}
token = jwt.encode(claims, signer, "ES256", headers={"kid": "1"})

for chosen in (keys, keys[1:]):
    document = json.dumps({"keys": chosen, "spiffe_sequence": 1, "spiffe_refresh_hint": 60}).encode()
    try:
        bundle = JwtBundle.parse(TrustDomain("td.example"), document)
        seen = JwtSvid.parse_and_validate(token, bundle, {"x"}).spiffe_id
    except Exception as error:
        seen = f"{type(error).__name__} - {error}"
    print(*(key["use"] for key in chosen), "->", seen)
PY
"$python" -W ignore seen.py > now.txt
expect now.txt <<'SEEN'
x509-svid jwt-svid -> ParseJWTBundleError - Error parsing JWT bundle: Error adding authority from JWKS: "keyID" cannot be empty
jwt-svid -> spiffe://td.example/billing
SEEN
