// openid-client as its documentation shows it: discovery, client credentials with private_key_jwt, a protected resource.
import { readFileSync } from 'node:fs'
import * as client from 'openid-client'

const [file, api, scope, algorithm] = process.argv.slice(2)
const { issuer, client_id, key: jwk } = JSON.parse(readFileSync(file))
const key = await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])

const config = await client.discovery(new URL(issuer), client_id, undefined, client.PrivateKeyJwt(key), {
  algorithm,
  execute: [client.allowInsecureRequests],
})
try {
  const got = await client.clientCredentialsGrant(config, { scope, resource: api })
  const reply = await client.fetchProtectedResource(config, got.access_token, new URL(`${api}/orders`), 'GET')
  console.log(JSON.stringify({ status: reply.status, body: await reply.json(), scope: got.scope, type: got.token_type }))
} catch (error) {
  if (!(error instanceof client.ResponseBodyError)) throw error
  console.log(JSON.stringify({ status: error.status, error: error.error, why: error.error_description }))
}
