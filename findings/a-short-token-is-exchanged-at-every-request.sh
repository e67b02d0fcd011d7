#!/usr/bin/env bash
# SDKs with workload identity exchange again at every request where the token lives for 20, 5 or 3.75 minutes
#
# Guess:   the token of an exchange is used until a little before its end, whatever its lifetime, so ten requests within a
#          second of each other are one exchange.
# Version: openai 6.49.0 (npm), google-auth-library 10.9.1 (npm), google-auth 2.63.0 (Python)
# Seen:    each subtracts a fixed time from the end: 1,200 s, 300 s and 225 s. A token of that lifetime or less is never
#          fresh: each of five requests in a row reads the platform's token and exchanges it again. No warning is given.
#          The platform's token is sent as often, so a server that takes its jti once refuses the second.
# So:      give such a client a token that lives longer than the time, or set refreshBufferSeconds (openai) or
#          eagerRefreshThresholdMillis (google-auth-library); google-auth has no setting.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with google-auth==2.63.0 requests==2.34.2
node_with openai@6.49.0 google-auth-library@10.9.1

cat > seen.py <<'PY'
import json

from google.auth import identity_pool
from google.auth.transport import Response

AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"


class Answer(Response):
    status, headers, data = 200, {}, b""

    def __init__(self, document):
        self.data = json.dumps(document).encode()


class Platform(identity_pool.SubjectTokenSupplier):
    def get_subject_token(self, context, request):
        return "a.b.c"


for seconds in (225, 300, 1200, 3600):
    exchanges = []

    def transport(url, **_):
        exchanges.append(url)
        return Answer({"access_token": "t", "token_type": "Bearer", "expires_in": seconds,
                       "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"})

    credentials = identity_pool.Credentials(
        AUDIENCE, "urn:ietf:params:oauth:token-type:jwt", "https://sts.example/token",
        subject_token_supplier=Platform(), scopes=["orders.read"], universe_domain="cloud.example",
    )
    for _ in range(5):
        credentials.before_request(transport, "GET", "https://api.example/", {})
    print(f"google-auth: a token of {seconds} s, 5 requests, {len(exchanges)} exchanges")
PY
cat > seen.mjs <<'JS'
import http from "node:http";
import { IdentityPoolClient } from "google-auth-library";
import OpenAI from "openai";

const json = (document) => new Response(JSON.stringify(document), { headers: { "content-type": "application/json" } });
const settled = () => new Promise((done) => setImmediate(done));
const token = (expires_in) => ({
  access_token: "t", token_type: "Bearer", expires_in, issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
});
let answer;
const server = http.createServer((request, response) => {
  request.resume().on("end", () => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(answer()));
  });
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const token_url = `http://127.0.0.1:${server.address().port}/token`;
for (const seconds of [225, 300, 1200, 3600]) {
  let exchanges = 0;
  answer = () => (exchanges++, token(seconds));
  const client = new IdentityPoolClient({
    type: "external_account", token_url, scopes: ["orders.read"],
    audience: "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
    subject_token_type: "urn:ietf:params:oauth:token-type:jwt", universe_domain: "cloud.example",
    subject_token_supplier: { getSubjectToken: async () => "a.b.c" },
  });
  for (let request = 0; request < 5; request++) await client.getRequestHeaders();
  console.log(`google-auth-library: a token of ${seconds} s, 5 requests, ${exchanges} exchanges`);
}
for (const seconds of [300, 1200, 3600]) {
  let exchanges = 0;
  const client = new OpenAI({
    workloadIdentity: {
      identityProviderId: "idp", serviceAccountId: "sa", provider: { tokenType: "jwt", getToken: async () => "a.b.c" },
    },
    fetch: async (url) => {
      if (!String(url).includes("auth.openai.com")) return json({ object: "list", data: [] });
      exchanges++;
      return json(token(seconds));
    },
  });
  for (let request = 0; request < 5; request++) {
    await client.models.list();
    await settled();
  }
  console.log(`openai: a token of ${seconds} s, 5 requests, ${exchanges} exchanges`);
}
process.exit(0);
JS
"$python" -W ignore seen.py > now.txt
node seen.mjs >> now.txt
expect now.txt <<'SEEN'
google-auth: a token of 225 s, 5 requests, 5 exchanges
google-auth: a token of 300 s, 5 requests, 1 exchanges
google-auth: a token of 1200 s, 5 requests, 1 exchanges
google-auth: a token of 3600 s, 5 requests, 1 exchanges
google-auth-library: a token of 225 s, 5 requests, 5 exchanges
google-auth-library: a token of 300 s, 5 requests, 5 exchanges
google-auth-library: a token of 1200 s, 5 requests, 1 exchanges
google-auth-library: a token of 3600 s, 5 requests, 1 exchanges
openai: a token of 300 s, 5 requests, 5 exchanges
openai: a token of 1200 s, 5 requests, 5 exchanges
openai: a token of 3600 s, 5 requests, 1 exchanges
SEEN
