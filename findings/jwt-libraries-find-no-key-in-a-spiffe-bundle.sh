#!/usr/bin/env bash
# Five JWT libraries find no key in a SPIFFE trust bundle, because its keys are for "jwt-svid"
#
# Guess:   a SPIFFE bundle is a JWK Set (as its standard says), so a library that is given one
#          verifies a JWT-SVID with the key that has its kid. RFC 7517 section 4.2 admits other values of "use".
# Version: jose 6.2.18, node-jose 2.2.0, PyJWT 2.15.1, joserfc 1.8.0, Authlib 1.9.10
# Seen:    all five refuse, though kid, kty and signature are right: three say that there is no such key, joserfc that
#          "use" must be sig or enc, and so it reads no key of the set. With "use" changed to "sig" all verify.
# So:      take the keys of jwt-svid out of the bundle and give the library copies without "use", or let the OIDC
#          discovery provider of SPIRE publish them.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with pyjwt==2.15.1 joserfc==1.8.0 authlib==1.9.10 cryptography==50.0.0
node_with jose@6.2.18 node-jose@2.2.0

cat > seen.py <<'PY'
import json, time

import jwt
from authlib.jose import JsonWebKey, JsonWebToken
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet

key = ec.generate_private_key(ec.SECP256R1())
public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
claims = {"sub": "spiffe://td.example/billing", "aud": "x", "exp": int(time.time()) + 300}
token = jwt.encode(claims, key, "ES256", headers={"kid": "1"})


def by_pyjwt(bundle):
    client = jwt.PyJWKClient("https://td.example/bundle")
    client.fetch_data = lambda: bundle
    return jwt.decode(token, client.get_signing_key_from_jwt(token).key, ["ES256"], audience="x")["sub"]


def by_joserfc(bundle):
    return joserfc_jwt.decode(token, KeySet.import_key_set(bundle), algorithms=["ES256"]).claims["sub"]


def by_authlib(bundle):
    return JsonWebToken(["ES256"]).decode(token, JsonWebKey.import_key_set(bundle))["sub"]


for use in ("jwt-svid", "sig"):
    bundle = {"keys": [{**public, "kid": "1", "use": use}], "spiffe_sequence": 1, "spiffe_refresh_hint": 60}
    for name, verify in (("PyJWT", by_pyjwt), ("joserfc", by_joserfc), ("Authlib", by_authlib)):
        try:
            print(use, name, verify(bundle))
        except Exception as error:
            print(use, name, type(error).__name__, "-", error)
    with open(f"{use}.json", "w") as file:
        json.dump({"token": token, "bundle": bundle}, file)
PY
cat > seen.mjs <<'JS'
import { readFileSync } from "node:fs";
import { createLocalJWKSet, jwtVerify } from "jose";
import nodeJose from "node-jose";

const by = {
  jose: async ({ token, bundle }) => (await jwtVerify(token, createLocalJWKSet(bundle))).payload.sub,
  "node-jose": async ({ token, bundle }) => {
    const { payload } = await nodeJose.JWS.createVerify(await nodeJose.JWK.asKeyStore(bundle)).verify(token);
    return JSON.parse(payload).sub;
  },
};
for (const use of ["jwt-svid", "sig"])
  for (const [name, verify] of Object.entries(by))
    console.log(use, name, await verify(JSON.parse(readFileSync(`${use}.json`))).catch((error) => error.message));
JS
"$python" -W ignore seen.py > now.txt 2> err.txt
node seen.mjs >> now.txt
expect now.txt <<'SEEN'
jwt-svid PyJWT PyJWKClientError - The JWKS endpoint did not contain any signing keys
jwt-svid joserfc KeyParameterError - key_parameter: 'use' must be one of ['sig', 'enc']
jwt-svid Authlib InvalidUseError - invalid_use: Key 'use' is not valid for your usage
sig PyJWT spiffe://td.example/billing
sig joserfc spiffe://td.example/billing
sig Authlib spiffe://td.example/billing
jwt-svid jose no applicable key found in the JSON Web Key Set
jwt-svid node-jose no key found
sig jose spiffe://td.example/billing
sig node-jose spiffe://td.example/billing
SEEN
