// Clients and a verifier that others wrote for Node: node recipes.mjs NAME, and the environment says the rest.
import { readFileSync } from "node:fs";
import http from "node:http";

const { ISSUER, CLIENT_ID, SECRET, SCOPE, RESOURCE, TOKEN } = process.env;
const KEY = process.env.KEY && readFileSync(process.env.KEY, "utf8");
const fail = (what) => { throw new Error(what); };
const listen = (handler) =>
  new Promise((done) => { const server = http.createServer(handler); server.listen(0, "127.0.0.1", () => done(server)); });

const recipes = {
  async msal_node() {
    const { ConfidentialClientApplication, ProtocolMode } = await import("@azure/msal-node");
    const { X509Certificate } = await import("node:crypto");
    const certificate = new X509Certificate(readFileSync(process.env.CERTIFICATE));
    const application = new ConfidentialClientApplication({
      auth: {
        clientId: CLIENT_ID,
        authority: ISSUER,
        knownAuthorities: [new URL(ISSUER).host],
        clientCertificate: { privateKey: KEY, thumbprintSha256: certificate.fingerprint256.replaceAll(":", "") },
        protocolMode: ProtocolMode?.OIDC ?? "OIDC",
      },
      system: { protocolMode: ProtocolMode?.OIDC ?? "OIDC" },
    });
    const found = await application.acquireTokenByClientCredential({ scopes: [SCOPE] });
    found.accessToken || fail("no token");
  },

  async badgateway() {
    const { OAuth2Client } = await import("@badgateway/oauth2-client");
    const client = new OAuth2Client({ server: ISSUER, clientId: CLIENT_ID, clientSecret: SECRET });
    const found = await client.clientCredentials({ scope: [SCOPE] });
    found.accessToken || fail("no token");
  },

  async exchange_oauth4webapi() {
    const oauth = await import("oauth4webapi");
    const { createPrivateKey, webcrypto } = await import("node:crypto");
    const issuer = new URL(ISSUER), insecure = { [oauth.allowInsecureRequests]: true };
    const found = await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...insecure });
    const server = await oauth.processDiscoveryResponse(issuer, found);
    const type = "urn:ietf:params:oauth:grant-type:token-exchange", client = { client_id: CLIENT_ID };
    server.grant_types_supported.includes(type) || fail(server.grant_types_supported);
    const pkcs8 = createPrivateKey(KEY).export({ type: "pkcs8", format: "der" });
    const key = await webcrypto.subtle.importKey("pkcs8", pkcs8, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
    const parameters = {
      subject_token: TOKEN, subject_token_type: "urn:ietf:params:oauth:token-type:access_token", resource: RESOURCE,
    };
    const pair = await oauth.generateKeyPair("ES256");
    for (const DPoP of [undefined, oauth.DPoP(client, pair)]) {
      const answer = await oauth.genericTokenEndpointRequest(
        server, client, oauth.PrivateKeyJwt(key), type, parameters, { DPoP, ...insecure },
      );
      const token = await oauth.processGenericTokenEndpointResponse(server, client, answer);
      token.scope === SCOPE && token.issued_token_type.endsWith(":access_token") || fail(JSON.stringify(token));
      token.token_type === (DPoP ? "dpop" : "bearer") || fail(token.token_type);
    }
  },

  async platform_oauth4webapi() {
    const oauth = await import("oauth4webapi");
    const issuer = new URL(ISSUER), insecure = { [oauth.allowInsecureRequests]: true };
    const found = await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...insecure });
    const server = await oauth.processDiscoveryResponse(issuer, found);
    const type = "urn:ietf:params:oauth:grant-type:jwt-bearer", client = { client_id: CLIENT_ID };
    const workload = (server, client, body) => {
      body.set("client_assertion", TOKEN);
      body.set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    };
    const pair = await oauth.generateKeyPair("ES256");
    for (const DPoP of [undefined, oauth.DPoP(client, pair)]) {
      const parameters = { assertion: TOKEN, resource: RESOURCE };
      const asGrant = await oauth.processGenericTokenEndpointResponse(server, client, await oauth.genericTokenEndpointRequest(
        server, client, oauth.None(), type, parameters, { DPoP, ...insecure },
      ));
      const asClient = await oauth.processClientCredentialsResponse(server, client, await oauth.clientCredentialsGrantRequest(
        server, client, workload, { resource: RESOURCE }, { DPoP, ...insecure },
      ));
      for (const token of [asGrant, asClient]) {
        token.scope === SCOPE && token.token_type === (DPoP ? "dpop" : "bearer") || fail(JSON.stringify(token));
      }
    }
  },

  async mcp() {
    const { auth } = await import("@modelcontextprotocol/sdk/client/auth.js");
    const { PrivateKeyJwtProvider } = await import("@modelcontextprotocol/sdk/client/auth-extensions.js");
    let base;
    const api = await listen((request, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ resource: RESOURCE.replace("BASE", base), authorization_servers: [ISSUER] }));
    });
    base = `http://127.0.0.1:${api.address().port}`;
    const provider = new PrivateKeyJwtProvider({
      clientId: CLIENT_ID, privateKey: KEY, algorithm: "ES256", scope: SCOPE, expectedIssuer: ISSUER,
    });
    const done = await auth(provider, { serverUrl: RESOURCE, resourceMetadataUrl: new URL(`${base}/metadata`) });
    done === "AUTHORIZED" || fail(done);
  },

  async express() {
    const { default: express } = await import("express");
    const { auth } = await import("express-oauth2-jwt-bearer");
    const app = express();
    app.use(auth({ issuerBaseURL: ISSUER, audience: RESOURCE, strict: true }));
    app.get("/", (request, response) => response.send(request.auth.payload.client_id));
    const api = await listen(app);
    const answer = await fetch(`http://127.0.0.1:${api.address().port}/`, { headers: { authorization: `Bearer ${TOKEN}` } });
    const body = await answer.text();
    answer.status === 200 || fail(`${answer.status} ${body}`);
  },

  async jose() {
    const { createRemoteJWKSet, jwtVerify } = await import("jose");
    const keys = createRemoteJWKSet(new URL(`${ISSUER}/jwks`));
    await jwtVerify(TOKEN, keys, { issuer: ISSUER, audience: RESOURCE, typ: "at+jwt", algorithms: ["ES256"] });
  },

  async aws_jwt_verify() {
    const { JwtVerifier } = await import("aws-jwt-verify");
    const verifier = JwtVerifier.create({ issuer: ISSUER, audience: RESOURCE, jwksUri: `${ISSUER}/jwks` });
    await verifier.verify(TOKEN);
  },
};
await recipes[process.argv[2]]();
process.exit(0);
