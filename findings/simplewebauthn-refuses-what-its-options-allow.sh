#!/usr/bin/env bash
# @simplewebauthn/server prefers user verification in its options, and demands it of the answer
#
# Guess:   the defaults of a library's two halves fit: what an authenticator may answer to the default options, the
#          default verification accepts. "preferred" does not fail without user verification (WebAuthn section 5.8.6).
# Version: @simplewebauthn/server 14.0.3, webauthn (py_webauthn) 3.0.1; Chromium 153 with a virtual security key that has
#          no PIN
# Seen:    @simplewebauthn/server refuses the new credential, and later the sign-in, until requireUserVerification: false
#          is given to both verifications. webauthn for Python accepts both, and reports that no user was verified: its
#          options leave the choice out, which means "preferred", and its verification does not require it.
# So:      write both halves of the rule, at both ceremonies, with both libraries: "required" and True, as affiant's
#          console does, or "preferred" and False.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with webauthn==3.0.1
chromium_with @simplewebauthn/server@14.0.3

cat > seen.py <<'PY'
import json, sys
from pathlib import Path

import webauthn

RP = {"expected_rp_id": "localhost"}
CHALLENGE = b"sixteen bytes or"
if sys.argv[1] == "options":
    new = webauthn.generate_registration_options(rp_id="localhost", rp_name="api", user_name="ada", challenge=CHALLENGE)
    again = webauthn.generate_authentication_options(rp_id="localhost", challenge=CHALLENGE)
    Path("options.json").write_text(f"[{webauthn.options_to_json(new)}, {webauthn.options_to_json(again)}]")
else:
    origin, new, again = json.loads(Path("answers.json").read_text())
    RP |= {"expected_origin": origin, "expected_challenge": CHALLENGE}
    made = webauthn.verify_registration_response(credential=new, **RP)
    print("webauthn for Python, new: accepted, user verified", made.user_verified)
    used = webauthn.verify_authentication_response(
        credential=again,
        credential_public_key=made.credential_public_key,
        credential_current_sign_count=made.sign_count,
        **RP,
    )
    print("webauthn for Python, sign-in: accepted, user verified", used.user_verified)
PY
"$python" seen.py options

cat > seen.mjs <<'JS'
import { readFileSync, writeFileSync } from "node:fs";
import * as simple from "@simplewebauthn/server";
import { open } from "./chromium.mjs";

const page = await open("localhost");
const devtools = await page.context().newCDPSession(page);
await devtools.send("WebAuthn.enable");
await devtools.send("WebAuthn.addVirtualAuthenticator", {
  options: { protocol: "ctap2", transport: "usb", hasResidentKey: false, hasUserVerification: false },
});
const origin = await page.evaluate(() => location.origin);
const create = (options) => page.evaluate(async (options) => {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  return (await navigator.credentials.create({ publicKey })).toJSON();
}, options);
const get = (options, id) => page.evaluate(async (options) => {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return (await navigator.credentials.get({ publicKey })).toJSON();
}, { ...options, allowCredentials: [{ type: "public-key", id }] });

const options = await simple.generateRegistrationOptions({ rpID: "localhost", rpName: "api", userName: "ada" });
const response = await create(options);
const rp = { expectedOrigin: origin, expectedRPID: "localhost" };
const verifyNew = (more) =>
  simple.verifyRegistrationResponse({ response, expectedChallenge: options.challenge, ...rp, ...more });
const show = (what, verified) => verified.then(
  (result) => console.log(`${what}: ${result.verified ? "accepted" : "refused"}`),
  (error) => console.log(`${what}: ${error.message}`),
);
const lax = { requireUserVerification: false };
console.log("@simplewebauthn/server's options:", options.authenticatorSelection.userVerification);
await show("its verification, new", verifyNew({}));
await show("the same, requireUserVerification: false", verifyNew(lax));

const { credential } = (await verifyNew(lax)).registrationInfo;
const request = await simple.generateAuthenticationOptions({ rpID: "localhost" });
const answer = await get(request, credential.id);
const verify = (more) => simple.verifyAuthenticationResponse({
  response: answer, expectedChallenge: request.challenge, credential, ...rp, ...more,
});
await show("its verification, sign-in", verify({}));
await show("the same, requireUserVerification: false", verify(lax));

const [first, second] = JSON.parse(readFileSync("options.json"));
const made = await create(first);
writeFileSync("answers.json", JSON.stringify([origin, made, await get(second, made.id)]));
process.exit(0);
JS
node seen.mjs > now.txt
"$python" seen.py verify >> now.txt
expect now.txt <<'SEEN'
@simplewebauthn/server's options: preferred
its verification, new: User verification was required, but user could not be verified
the same, requireUserVerification: false: accepted
its verification, sign-in: User verification required, but user could not be verified
the same, requireUserVerification: false: accepted
webauthn for Python, new: accepted, user verified False
webauthn for Python, sign-in: accepted, user verified False
SEEN
