#!/usr/bin/env bash
# http://127.0.0.1 is a secure context with PublicKeyCredential and an authenticator, and no passkey can be made there
#
# Guess:   WebAuthn needs a secure context; a page at 127.0.0.1 is one, as a page at localhost is. So a page that asks
#          isSecureContext and isUserVerifyingPlatformAuthenticatorAvailable() knows whether passkeys work.
# Version: Chromium 153, with the virtual authenticator of its DevTools protocol
# Seen:    both say yes at 127.0.0.1 and [::1]; create() raises SecurityError for every RP ID, also "localhost": an
#          address is no domain. At app.localhost the RP ID may be that name, and not its suffix localhost.
# So:      open a console in development at http://localhost, and say so on the page: no question of the API does.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
chromium_with

cat > seen.mjs <<'JS'
import { open } from "./chromium.mjs";

for (const host of ["localhost", "127.0.0.1", "[::1]", "app.localhost"]) {
  const page = await open(host);
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
    },
  });
  for (const id of [undefined, "localhost"]) {
    const said = await page.evaluate(async (id) => {
      const asked = [isSecureContext, await PublicKeyCredential.isUserVerifyingPlatformAuthenticatorAvailable()];
      const publicKey = {
        rp: { name: "console", id }, challenge: new Uint8Array(16), pubKeyCredParams: [{ type: "public-key", alg: -7 }],
        user: { id: new Uint8Array(8), name: "ada", displayName: "Ada" },
      };
      const made = await navigator.credentials.create({ publicKey }).then(() => "a passkey", (error) => error.name);
      return `secure ${asked[0]}, authenticator ${asked[1]}, create(): ${made}`;
    }, id);
    console.log(`${host}, RP ID ${id ?? "left out"}: ${said}`);
  }
}
process.exit(0);
JS
node seen.mjs > now.txt
expect now.txt <<'SEEN'
localhost, RP ID left out: secure true, authenticator true, create(): a passkey
localhost, RP ID localhost: secure true, authenticator true, create(): a passkey
127.0.0.1, RP ID left out: secure true, authenticator true, create(): SecurityError
127.0.0.1, RP ID localhost: secure true, authenticator true, create(): SecurityError
[::1], RP ID left out: secure true, authenticator true, create(): SecurityError
[::1], RP ID localhost: secure true, authenticator true, create(): SecurityError
app.localhost, RP ID left out: secure true, authenticator true, create(): a passkey
app.localhost, RP ID localhost: secure true, authenticator true, create(): SecurityError
SEEN
