// oauth4webapi with DPoP: the nonces of the server and of the API are learnt as its documentation shows.
import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'

const [file, api, scope] = process.argv.slice(2)
const { issuer, client_id, kid, key: jwk } = JSON.parse(readFileSync(file))
const key = await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
const insecure = { [oauth.allowInsecureRequests]: true }

const url = new URL(issuer)
const as = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm: 'oauth2', ...insecure }))
const me = { client_id }
const DPoP = oauth.DPoP(me, await oauth.generateKeyPair('ES256'))

async function twice(ask) {
  try {
    return [await ask(), 1]
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return [await ask(), 2]
  }
}

const [got, asked] = await twice(async () => {
  const options = { DPoP, ...insecure }
  const reply = await oauth.clientCredentialsGrantRequest(
    as, me, oauth.PrivateKeyJwt({ key, kid }), { scope, resource: api }, options,
  )
  return oauth.processClientCredentialsResponse(as, me, reply)
})
const call = (DPoP) => oauth.protectedResourceRequest(
  got.access_token, 'GET', new URL(`${api}/orders?page=1`), undefined, undefined, { DPoP, ...insecure },
)
const [reply, called] = await twice(() => call(DPoP))
const request = new Request(`${api}/orders`, { headers: { authorization: `Bearer ${got.access_token}` } })
const stolen = await fetch(request)
console.log(JSON.stringify({
  status: reply.status, body: await reply.json(), type: got.token_type, asked, called, stolen: stolen.status,
}))
