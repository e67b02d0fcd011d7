#!/usr/bin/env bash
# A browser's JWK for Ed25519 says "alg": "Ed25519", with which three of five JOSE libraries do not sign EdDSA
#
# Guess:   a key pair that a page makes and exports as JWK is used at once in any JOSE library: with "EdDSA", which all
#          know for this curve, or with ES256 for P-256. Its public half is the JWK without "d".
# Version: Chromium 153; joserfc 1.8.0, Authlib 1.9.10, jwcrypto 1.6.1, PyJWT 2.15.1, jose 6.2.18
# Seen:    PyJWT reads no key with this alg, joserfc and jose refuse it for EdDSA; Authlib and jwcrypto do not look at
#          it. For P-256 the browser writes no alg, and all sign. The JWK without "d" still says key_ops ["sign"]: only
#          PyJWT verifies with it, and jose finds no key in a JWK Set of it.
# So:      remove alg, key_ops and ext of such a JWK, or set them anew, before it is a file or is registered.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with joserfc==1.8.0 authlib==1.9.10 jwcrypto==1.6.1 pyjwt==2.15.1 cryptography==50.0.2
chromium_with jose@6.2.18

cat > seen.mjs <<'JS'
import { writeFileSync } from "node:fs";
import { SignJWT, createLocalJWKSet, jwtVerify } from "jose";
import { open } from "./chromium.mjs";

const page = await open("localhost");
const keys = [];
for (const [alg, parameters] of [["EdDSA", { name: "Ed25519" }], ["ES256", { name: "ECDSA", namedCurve: "P-256" }]]) {
  const jwk = await page.evaluate(async (parameters) => {
    const pair = await crypto.subtle.generateKey(parameters, true, ["sign", "verify"]);
    return crypto.subtle.exportKey("jwk", pair.privateKey);
  }, parameters);
  console.log(`${jwk.crv}: alg ${jwk.alg}, key_ops ${jwk.key_ops}, ext ${jwk.ext}`);
  const { alg: _, key_ops, ext, ...bare } = jwk;
  const { d, ...half } = { ...jwk, ...(jwk.alg && { alg }) };
  const token = await new SignJWT({}).setProtectedHeader({ alg }).sign(bare);
  keys.push({ alg, jwk, half, token });
  const said = (done) => done.then(() => "works", (error) => error.name);
  const signed = await said(new SignJWT({}).setProtectedHeader({ alg }).sign(jwk));
  const verified = await said(jwtVerify(token, createLocalJWKSet({ keys: [half] })));
  console.log(`${alg}, jose: signs: ${signed}, verifies without d: ${verified}`);
}
writeFileSync("keys.json", JSON.stringify(keys));
process.exit(0);
JS
node seen.mjs > now.txt

cat > seen.py <<'PY'
import json, warnings
from pathlib import Path

warnings.simplefilter("ignore")
import jwt
from authlib.jose import JsonWebKey, JsonWebToken
from joserfc import jwt as joserfc
from joserfc.jwk import import_key
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS


def jwcrypto_signs(alg, jwk):
    jws = JWS(b"{}")
    jws.allowed_algs = [alg]
    jws.add_signature(JWK(**jwk), protected=json.dumps({"alg": alg}))


def jwcrypto_verifies(alg, jwk, token):
    jws = JWS()
    jws.allowed_algs = [alg]
    jws.deserialize(token, JWK(**jwk))


libraries = {
    "joserfc": (
        lambda alg, jwk: joserfc.encode({"alg": alg}, {}, import_key(jwk), algorithms=[alg]),
        lambda alg, jwk, token: joserfc.decode(token, import_key(jwk), algorithms=[alg]),
    ),
    "Authlib": (
        lambda alg, jwk: JsonWebToken([alg]).encode({"alg": alg}, {}, JsonWebKey.import_key(jwk)),
        lambda alg, jwk, token: JsonWebToken([alg]).decode(token, JsonWebKey.import_key(jwk)),
    ),
    "jwcrypto": (jwcrypto_signs, jwcrypto_verifies),
    "PyJWT": (
        lambda alg, jwk: jwt.encode({}, jwt.PyJWK(jwk), alg),
        lambda alg, jwk, token: jwt.decode(token, jwt.PyJWK(jwk), [alg]),
    ),
}


def said(call, *arguments):
    try:
        call(*arguments)
    except Exception as error:
        return type(error).__name__
    return "works"


for key in json.loads(Path("keys.json").read_text()):
    for name, (sign, verify) in libraries.items():
        signed = said(sign, key["alg"], key["jwk"])
        verified = said(verify, key["alg"], key["half"], key["token"])
        print(f"{key['alg']}, {name}: signs: {signed}, verifies without d: {verified}")
PY
"$python" seen.py >> now.txt
expect now.txt <<'SEEN'
Ed25519: alg Ed25519, key_ops sign, ext true
EdDSA, jose: signs: TypeError, verifies without d: JWKSNoMatchingKey
P-256: alg undefined, key_ops sign, ext true
ES256, jose: signs: works, verifies without d: JWKSNoMatchingKey
EdDSA, joserfc: signs: UnsupportedKeyAlgorithmError, verifies without d: UnsupportedKeyOperationError
EdDSA, Authlib: signs: works, verifies without d: ValueError
EdDSA, jwcrypto: signs: works, verifies without d: InvalidJWSSignature
EdDSA, PyJWT: signs: PyJWKError, verifies without d: works
ES256, joserfc: signs: works, verifies without d: UnsupportedKeyOperationError
ES256, Authlib: signs: works, verifies without d: ValueError
ES256, jwcrypto: signs: works, verifies without d: InvalidJWSSignature
ES256, PyJWT: signs: works, verifies without d: works
SEEN
