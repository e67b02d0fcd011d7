#!/usr/bin/env bash
# moto's KMS hashes a digest once more, and signs RSASSA_PSS with a salt that no JOSE library accepts
#
# Guess:   a signature that moto makes with MessageType=DIGEST, or with RSASSA_PSS_SHA_256, verifies as one of AWS does.
# Version: moto 5.2.5
# Seen:    with DIGEST it verifies only over the digest as the message. The salt of RSASSA_PSS_SHA_256 has 222 bytes for
#          a key of 2048 bits, the longest possible; AWS and RFC 7518 section 3.5 have 32.
# So:      a signer that is right with AWS fails a test against moto, and one that is wrong may pass. Use ECDSA and
#          RSASSA_PKCS1 with MessageType=RAW there.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with "moto[kms]==5.2.5" boto3==1.44.8 cryptography==50.0.0

cat > seen.py <<'PY'
import hashlib, os

os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-central-1"}
import boto3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import load_der_public_key
from moto import mock_aws

SHA = hashes.SHA256()
MESSAGE, DIGEST = b"m", hashlib.sha256(b"m").digest()


def sign(spec, alg, message, kind):
    key = kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    public = load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])
    return public, kms.sign(KeyId=key, Message=message, MessageType=kind, SigningAlgorithm=alg)["Signature"]


def verifies(public, *arguments):
    try:
        public.verify(*arguments)
    except InvalidSignature:
        return False
    return True


with mock_aws():
    kms = boto3.client("kms")
    for kind, signed in (("RAW", MESSAGE), ("DIGEST", DIGEST)):
        public, signature = sign("ECC_NIST_P256", "ECDSA_SHA_256", signed, kind)
        over = [name for name in ("MESSAGE", "DIGEST") if verifies(public, signature, globals()[name], ec.ECDSA(SHA))]
        print(f"{kind}: verifies over the", *over)
    public, signature = sign("RSA_2048", "RSASSA_PSS_SHA_256", MESSAGE, "RAW")
    for salt in (32, 222):
        is_good = verifies(public, signature, MESSAGE, padding.PSS(padding.MGF1(SHA), salt), SHA)
        print(f"RSASSA_PSS with a salt of {salt} bytes: {is_good}")
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
RAW: verifies over the MESSAGE
DIGEST: verifies over the DIGEST
RSASSA_PSS with a salt of 32 bytes: False
RSASSA_PSS with a salt of 222 bytes: True
SEEN
