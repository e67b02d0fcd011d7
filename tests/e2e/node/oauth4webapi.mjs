// oauth4webapi as its documentation shows it, and then as the API: its own check of an RFC 9068 token.
import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'

const [file, api, scope, algorithm] = process.argv.slice(2)
const { issuer, client_id, kid, key: jwk } = JSON.parse(readFileSync(file))
const key = await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
const insecure = { [oauth.allowInsecureRequests]: true }

const url = new URL(issuer)
const as = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm, ...insecure }))
const me = { client_id }
const asked = await oauth.clientCredentialsGrantRequest(
  as, me, oauth.PrivateKeyJwt({ key, kid }), { scope, resource: api }, insecure,
)
try {
  const got = await oauth.processClientCredentialsResponse(as, me, asked)
  const reply = await oauth.protectedResourceRequest(got.access_token, 'GET', new URL(`${api}/orders`), undefined, undefined, insecure)
  const request = new Request(`${api}/orders`, { headers: { authorization: `Bearer ${got.access_token}` } })
  const claims = await oauth.validateJwtAccessToken(as, request, api, insecure)
  console.log(JSON.stringify({ status: reply.status, body: await reply.json(), scope: got.scope, type: got.token_type, claims }))
} catch (error) {
  if (!(error instanceof oauth.ResponseBodyError)) throw error
  console.log(JSON.stringify({ status: error.status, error: error.error, why: error.error_description }))
}
