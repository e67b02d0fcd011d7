#!/usr/bin/env bash
# google-auth for Python fails at an exchange without expires_in; the same library for Node then never exchanges again
#
# Guess:   RFC 8693 section 2.2.1 recommends expires_in and does not demand it. Without it a client uses the token until
#          the API refuses it, or for a time of its own.
# Version: google-auth 2.63.0 (Python), google-auth-library 10.9.1 (Node)
# Seen:    the library for Python raises a TypeError about timedelta, which is no GoogleAuthError, after the server has
#          issued the token. The one for Node takes the token, and sends it for ever, here after a year.
# So:      a server that plays Google's STS sends expires_in with every token.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with google-auth==2.63.0 requests==2.34.2
node_with google-auth-library@10.9.1

cat > seen.py <<'PY'
import json

from google.auth import identity_pool
from google.auth.exceptions import GoogleAuthError
from google.auth.transport import Response

AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"
TYPE = "urn:ietf:params:oauth:token-type:"


class Answer(Response):
    status, headers, data = 200, {}, b""

    def __init__(self, document):
        self.data = json.dumps(document).encode()


class Platform(identity_pool.SubjectTokenSupplier):
    def get_subject_token(self, context, request):
        return "a.b.c"


for more in ({"expires_in": 3600}, {}):
    token = {"access_token": "t", "token_type": "Bearer", "issued_token_type": f"{TYPE}access_token", **more}
    credentials = identity_pool.Credentials(
        AUDIENCE, f"{TYPE}jwt", "https://sts.example/token",
        subject_token_supplier=Platform(), scopes=["orders.read"], universe_domain="cloud.example",
    )
    headers = {}
    try:
        credentials.before_request(lambda url, **_: Answer(token), "GET", "https://api.example/", headers)
        print("Python", more, headers["authorization"])
    except Exception as error:
        print("Python", more, type(error).__name__, "GoogleAuthError:", isinstance(error, GoogleAuthError), "-", error)
PY
cat > seen.mjs <<'JS'
import http from "node:http";
import { IdentityPoolClient } from "google-auth-library";

const TYPE = "urn:ietf:params:oauth:token-type:";
const real = Date.prototype.getTime;
let later = 0;
Date.prototype.getTime = function () { return real.call(this) + later; };
let answer;
const server = http.createServer((request, response) => {
  request.resume().on("end", () => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(answer()));
  });
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const token_url = `http://127.0.0.1:${server.address().port}/token`;
for (const more of [{ expires_in: 3600 }, {}]) {
  let exchanges = 0;
  later = 0;
  answer = () => ({
    access_token: `t${++exchanges}`, token_type: "Bearer", issued_token_type: `${TYPE}access_token`, ...more,
  });
  const client = new IdentityPoolClient({
    type: "external_account", token_url, scopes: ["orders.read"],
    audience: "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
    subject_token_type: `${TYPE}jwt`, universe_domain: "cloud.example",
    subject_token_supplier: { getSubjectToken: async () => "a.b.c" },
  });
  await client.getRequestHeaders();
  later = 365 * 86_400_000;
  console.log("Node", JSON.stringify(more), "after a year:", (await client.getRequestHeaders()).get("authorization"));
}
process.exit(0);
JS
"$python" -W ignore seen.py > now.txt
node seen.mjs >> now.txt
expect now.txt <<'SEEN'
Python {'expires_in': 3600} Bearer t
Python {} TypeError GoogleAuthError: False - unsupported type for timedelta seconds component: NoneType
Node {"expires_in":3600} after a year: Bearer t2
Node {} after a year: Bearer t1
SEEN
