#!/usr/bin/env bash
# azure-identity keeps the federated token file for ten minutes (Python) or five (Node), whatever its token's end
#
# Guess:   WorkloadIdentityCredential reads AZURE_FEDERATED_TOKEN_FILE at each token request, or again after the end (exp)
#          of what it has read.
# Version: azure-identity 1.27.0 (Python), @azure/identity 4.13.1 (Node)
# Seen:    the file is read once and its text sent for 600 s, and for 300 s in Node, also where its token has ended and
#          the file has had a new one since. Each token request in that time sends the old one.
# So:      the token in the file must live for more than ten minutes when it is written, and be replaced ten minutes before
#          its end; kubelet's are (an hour or more), those of other issuers often not.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with azure-identity==1.27.0 azure-core==1.41.0 requests==2.34.2
node_with @azure/identity@4.13.1

cat > seen.py <<'PY'
import io, json, time
from pathlib import Path
from urllib.parse import parse_qs

from azure.core.pipeline.transport import RequestsTransport
from azure.identity import WorkloadIdentityCredential
from requests import Response
from urllib3 import HTTPResponse

real, later, sent, file = time.time, [0], [], Path("token")
time.time = lambda: real() + later[0]
BASE = "https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111"


class Session:
    """The session that RequestsTransport lets its user choose: it answers as the token endpoint would."""

    def request(self, method, url, data=None, **_):
        answer = Response()
        answer.status_code, answer.headers["content-type"] = 200, "application/json"
        if method == "POST":
            form = data if isinstance(data, dict) else {name: value for name, (value,) in parse_qs(data).items()}
            sent.append(form["client_assertion"])
            document = {"access_token": "t", "token_type": "Bearer", "expires_in": 3600}
        else:
            document = {"token_endpoint": f"{BASE}/oauth2/v2.0/token", "issuer": f"{BASE}/v2.0", "authorization_endpoint": BASE}
            document |= {"tenant_discovery_endpoint": BASE, "metadata": []}
        answer.url, answer.raw = url, HTTPResponse(io.BytesIO(json.dumps(document).encode()), preload_content=False)
        return answer

    def close(self):
        pass


credential = WorkloadIdentityCredential(
    tenant_id=BASE.rpartition("/")[2], client_id="billing", token_file_path=str(file),
    transport=RequestsTransport(session=Session(), session_owner=False),
)
for seconds in (0, 300, 590, 610):
    later[0] = seconds
    file.write_text(f"of-second-{seconds}")
    credential.get_token(f"https://api-{seconds}.example/.default")
    print(f"Python, {seconds} s: {sent[-1]}")
PY
cat > seen.mjs <<'JS'
import { writeFileSync } from "node:fs";
import { createHttpHeaders } from "@azure/core-rest-pipeline";
import { WorkloadIdentityCredential } from "@azure/identity";

const base = "https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111";
const real = Date.now;
let later = 0, sent;
Date.now = () => real() + later * 1000;
const httpClient = {
  async sendRequest(request) {
    const form = new URLSearchParams(request.body);
    if (request.method === "POST") sent = form.get("client_assertion");
    const document = request.method === "POST"
      ? { access_token: "t", token_type: "Bearer", expires_in: 3600 }
      : { token_endpoint: `${base}/oauth2/v2.0/token`, issuer: `${base}/v2.0`, authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
          tenant_discovery_endpoint: `${base}/v2.0/.well-known/openid-configuration`, metadata: [] };
    return { request, status: 200, headers: createHttpHeaders({ "content-type": "application/json" }), bodyAsText: JSON.stringify(document) };
  },
};
const credential = new WorkloadIdentityCredential({
  tenantId: base.split("/").at(-1), clientId: "billing", tokenFilePath: "token", httpClient,
});
for (const seconds of [0, 290, 310]) {
  later = seconds;
  writeFileSync("token", `of-second-${seconds}`);
  await credential.getToken(`https://api-${seconds}.example/.default`);
  console.log(`Node, ${seconds} s: ${sent}`);
}
JS
"$python" -W ignore seen.py > now.txt
node seen.mjs >> now.txt
expect now.txt <<'SEEN'
Python, 0 s: of-second-0
Python, 300 s: of-second-0
Python, 590 s: of-second-0
Python, 610 s: of-second-610
Node, 0 s: of-second-0
Node, 290 s: of-second-0
Node, 310 s: of-second-310
SEEN
