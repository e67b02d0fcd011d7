#!/usr/bin/env bash
# Auth0's Express middleware takes the algorithms of ID tokens for those of access tokens
#
# Guess:   id_token_signing_alg_values_supported says nothing about access tokens (OpenID Connect Discovery, section 3),
#          so an ES256 access token whose key is in the JWK Set is verified.
# Version: express-oauth2-jwt-bearer 1.10.0, jose 5.10.0
# Seen:    with that member at ["RS256"] every ES256 access token is 401 "Unexpected 'alg' value", also where the option
#          tokenSigningAlg says ES256. With ES256 in the member, or without the member, the same token is taken.
# So:      an issuer lists there every algorithm that its JWK Set signs with, even if it signs no ID token.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
node_with express-oauth2-jwt-bearer@1.10.0 jose@5.10.0 express@4.21.2

cat > seen.mjs <<'JS'
import http from "node:http";
import express from "express";
import { auth } from "express-oauth2-jwt-bearer";
import { exportJWK, generateKeyPair, SignJWT } from "jose";

const { privateKey, publicKey } = await generateKeyPair("ES256");
const jwk = { ...(await exportJWK(publicKey)), kid: "k", alg: "ES256", use: "sig" };
const listen = (handler) =>
  new Promise((done) => { const server = http.createServer(handler); server.listen(0, "127.0.0.1", () => done(server)); });

async function ask(algorithms, options = {}) {
  let issuer;
  const as = await listen((request, response) => {
    response.setHeader("content-type", "application/json");
    if (request.url === "/jwks") return response.end(JSON.stringify({ keys: [jwk] }));
    const metadata = { issuer, jwks_uri: `${issuer}/jwks`, token_endpoint: `${issuer}/token` };
    if (algorithms) metadata.id_token_signing_alg_values_supported = algorithms;
    response.end(JSON.stringify(metadata));
  });
  issuer = `http://127.0.0.1:${as.address().port}`;
  const app = express();
  app.use(auth({ issuerBaseURL: issuer, audience: "https://orders.example", ...options }));
  app.get("/", (request, response) => response.send("ok"));
  app.use((error, request, response, next) => response.status(error.status).send(error.message));
  const api = await listen(app);
  const token = await new SignJWT({ client_id: "billing" })
    .setProtectedHeader({ alg: "ES256", kid: "k", typ: "at+jwt" }).setIssuer(issuer).setSubject("billing")
    .setAudience("https://orders.example").setIssuedAt().setExpirationTime("5m").setJti("1").sign(privateKey);
  const answer = await fetch(`http://127.0.0.1:${api.address().port}/`, { headers: { authorization: `Bearer ${token}` } });
  console.log(JSON.stringify(algorithms ?? null), JSON.stringify(options), answer.status, await answer.text());
  as.close(); api.close();
}
await ask(["RS256"]);
await ask(["RS256"], { tokenSigningAlg: "ES256" });
await ask(["RS256", "ES256"]);
await ask(undefined);
process.exit(0);
JS
node seen.mjs > now.txt
expect now.txt <<'SEEN'
["RS256"] {} 401 Unexpected 'alg' value
["RS256"] {"tokenSigningAlg":"ES256"} 401 Unexpected 'alg' value
["RS256","ES256"] {} 200 ok
null {} 200 ok
SEEN
