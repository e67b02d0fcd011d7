#!/usr/bin/env bash
# The MCP TypeScript SDK's client-credentials providers do not ask for the scope of the challenge
#
# Guess:   a client that got 401 with scope="..." in WWW-Authenticate asks its token for that scope, as the MCP
#          authorization specification says, and else for scopes_supported.
# Version: @modelcontextprotocol/sdk 1.32.2 (PrivateKeyJwtProvider)
# Seen:    the token request has no scope at all, though both the challenge and the metadata of RFC 9728 name one. It
#          has the resource and an assertion for the issuer. The scope option of the provider is sent.
# So:      give the scope to the provider, or let the server have a default scope for the client.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
node_with @modelcontextprotocol/sdk@1.32.2 jose@5.10.0

cat > seen.mjs <<'JS'
import http from "node:http";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { PrivateKeyJwtProvider } from "@modelcontextprotocol/sdk/client/auth-extensions.js";
import { exportPKCS8, generateKeyPair } from "jose";

const { privateKey } = await generateKeyPair("ES256", { extractable: true });
const forms = [];
let base;
const server = http.createServer((request, response) => {
  let body = "";
  request.on("data", (piece) => (body += piece));
  request.on("end", () => {
    const answer = (status, document, headers = {}) => {
      response.writeHead(status, { "content-type": "application/json", ...headers });
      response.end(JSON.stringify(document));
    };
    const path = request.url.split("?")[0];
    if (path.startsWith("/.well-known/oauth-protected-resource"))
      return answer(200, { resource: `${base}/mcp`, authorization_servers: [base], scopes_supported: ["tools.call"] });
    if (path.startsWith("/.well-known/"))
      return answer(200, {
        issuer: base, authorization_endpoint: `${base}/authorize`, token_endpoint: `${base}/token`,
        response_types_supported: ["code"], grant_types_supported: ["client_credentials"],
        token_endpoint_auth_methods_supported: ["private_key_jwt"],
      });
    if (path === "/token") {
      forms.push(new URLSearchParams(body));
      return answer(200, { access_token: "opaque", token_type: "Bearer", expires_in: 600 });
    }
    answer(401, {}, {
      "www-authenticate": `Bearer resource_metadata="${base}/.well-known/oauth-protected-resource/mcp", scope="tools.call"`,
    });
  });
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
base = `http://127.0.0.1:${server.address().port}`;

for (const more of [{}, { scope: "tools.call" }]) {
  forms.length = 0;
  const provider = new PrivateKeyJwtProvider({
    clientId: "agent", privateKey: await exportPKCS8(privateKey), algorithm: "ES256", ...more,
  });
  const transport = new StreamableHTTPClientTransport(new URL(`${base}/mcp`), { authProvider: provider });
  await new Client({ name: "agent", version: "1" }).connect(transport).catch(() => {});
  const [form] = forms;
  const resource = form.get("resource").replace(base, "BASE");
  console.log(JSON.stringify(more), "scope:", form.get("scope"), "resource:", resource);
}
process.exit(0);
JS
node seen.mjs > now.txt
expect now.txt <<'SEEN'
{} scope: null resource: BASE/mcp
{"scope":"tools.call"} scope: tools.call resource: BASE/mcp
SEEN
