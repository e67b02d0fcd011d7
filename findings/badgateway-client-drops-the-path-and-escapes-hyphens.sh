#!/usr/bin/env bash
# @badgateway/oauth2-client loses the path of its server and percent-encodes hyphens
#
# Guess:   with server "https://as.example/tenant" the discovery document is looked for below or beside that path, and a
#          client_id of letters and hyphens is in the Basic header as it is.
# Version: @badgateway/oauth2-client 3.3.1
# Seen:    discovery is asked at the root of the host, the path is gone. The Basic header of the method named
#          client_secret_basic has "-" and "_" percent-encoded (%2D, %5F): form encoding may be undone so (RFC 6749
#          section 2.3.1), and a server that does not decode refuses. The default, client_secret_basic_interop, does not.
# So:      name tokenEndpoint or discoveryEndpoint where the issuer has a path, and decode Basic as a form.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
node_with @badgateway/oauth2-client@3.3.1

cat > seen.mjs <<'JS'
import http from "node:http";
import { OAuth2Client } from "@badgateway/oauth2-client";

const lines = [];
let base;
const server = http.createServer((request, response) => {
  const basic = (request.headers.authorization ?? "").replace("Basic ", "");
  lines.push([request.method, request.url, Buffer.from(basic, "base64").toString()].join(" ").trim());
  response.writeHead(200, { "content-type": "application/json" });
  const metadata = { issuer: `${base}/tenant`, token_endpoint: `${base}/tenant/token` };
  const token = { access_token: "opaque", token_type: "Bearer", expires_in: 600 };
  response.end(JSON.stringify(request.method === "GET" ? metadata : token));
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
base = `http://127.0.0.1:${server.address().port}`;
for (const more of [{}, { authenticationMethod: "client_secret_basic" }]) {
  const settings = { server: `${base}/tenant`, clientId: "billing-job_1", clientSecret: "secret" };
  await new OAuth2Client({ ...settings, ...more }).clientCredentials();
}
console.log(lines.join("\n"));
process.exit(0);
JS
node seen.mjs > now.txt
expect now.txt <<'SEEN'
GET /.well-known/oauth-authorization-server
POST /tenant/token billing-job_1:secret
GET /.well-known/oauth-authorization-server
POST /tenant/token billing%2Djob%5F1:secret
SEEN
