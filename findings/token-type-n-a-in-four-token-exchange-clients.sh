#!/usr/bin/env bash
# Clients with a token exchange refuse token_type N_A, which RFC 8693 has for a token that is no access token
#
# Guess:   a library with a method or an example for token exchange returns what RFC 8693 section 2.2.1 allows: where
#          the issued token is no access token, but a JWT for another server, token_type is N_A.
# Version: oauth4webapi 3.8.8, openid-client 6.9.0, requests-oauth2client 1.8.0, Authlib 1.9.10
# Seen:    requests-oauth2client and oauth4webapi raise for the answer of 200 that they asked for by requested_token_type;
#          the first says that "the remote endpoint returned an error". openid-client, made on oauth4webapi, and Authlib
#          return the token; Authlib's session then refuses to send it, which is right.
# So:      with oauth4webapi pass recognizedTokenTypes: {n_a: () => {}}; with requests-oauth2client post the form yourself.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with requests-oauth2client==1.8.0 authlib==1.9.10 requests==2.34.2 cryptography==50.0.0
node_with oauth4webapi@3.8.8 openid-client@6.9.0

cat > seen.py <<'PY'
import os, sys

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
from authlib.integrations.requests_client import OAuth2Session
from requests_oauth2client import OAuth2Client

endpoint = sys.argv[1]
TYPE = "urn:ietf:params:oauth:token-type:"
form = {"subject_token": "t", "subject_token_type": f"{TYPE}access_token", "requested_token_type": f"{TYPE}jwt"}


def seen(name, ask):
    try:
        print(name, "-", ask())
    except Exception as error:
        print(name, "-", type(error).__name__, *str(error).splitlines()[:1])


session = OAuth2Session("orders", "secret", token_endpoint=endpoint)
grant = "urn:ietf:params:oauth:grant-type:token-exchange"
seen("Authlib", lambda: session.fetch_token(endpoint, grant_type=grant, **form)["token_type"])
seen("Authlib, used", lambda: session.get(endpoint))
client = OAuth2Client(endpoint, client_id="orders", client_secret="secret", testing=True)
seen("requests-oauth2client", lambda: client.token_exchange(**form).token_type)
PY
cat > seen.mjs <<'JS'
import { execFile } from "node:child_process";
import http from "node:http";
import { promisify } from "node:util";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";

const TYPE = "urn:ietf:params:oauth:token-type:";
const GRANT = "urn:ietf:params:oauth:grant-type:token-exchange";
const issued = { access_token: "a.b.c", issued_token_type: `${TYPE}jwt`, token_type: "N_A", expires_in: 600 };
const server = http.createServer((request, response) => {
  request.resume().on("end", () => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(issued));
  });
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const base = `http://127.0.0.1:${server.address().port}`;

process.stdout.write((await promisify(execFile)(process.argv[2], ["-W", "ignore", "seen.py", `${base}/token`])).stdout);
const form = { subject_token: "t", subject_token_type: `${TYPE}access_token`, requested_token_type: `${TYPE}jwt` };
const as = { issuer: base, token_endpoint: `${base}/token` };
const client = { client_id: "orders" };
for (const options of [undefined, { recognizedTokenTypes: { n_a: () => {} } }]) {
  const answer = await oauth.genericTokenEndpointRequest(
    as, client, oauth.ClientSecretPost("secret"), GRANT, form, { [oauth.allowInsecureRequests]: true },
  );
  const seen = await oauth.processGenericTokenEndpointResponse(as, client, answer, options)
    .then((token) => token.token_type, (error) => `${error.name} ${error.message}`);
  console.log(options ? "oauth4webapi, n_a recognized" : "oauth4webapi", "-", seen);
}
const config = new openid.Configuration(as, "orders", "secret");
openid.allowInsecureRequests(config);
const seen = await openid.genericGrantRequest(config, GRANT, form)
  .then((token) => token.token_type, (error) => `${error.name} ${error.message}`);
console.log("openid-client", "-", seen);
process.exit(0);
JS
node seen.mjs "$python" > now.txt
expect now.txt <<'SEEN'
Authlib - N_A
Authlib, used - UnsupportedTokenTypeError unsupported_token_type: Unsupported token_type: 'n_a'
requests-oauth2client - InvalidTokenResponse The remote endpoint returned an error: An error happened while processing the error response: 'error'
oauth4webapi - UnsupportedOperationError unsupported `token_type` value
oauth4webapi, n_a recognized - n_a
openid-client - n_a
SEEN
