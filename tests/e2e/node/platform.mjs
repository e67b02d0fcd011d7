// Both libraries with the token of a platform: as the grant, and as the client's authentication; then the API.
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'

const [library, issuer, client_id, token, api] = process.argv.slice(2)
const grant = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const type = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const url = new URL(issuer)
const workload = (as, me, body) => {
  body.set('client_assertion', token)
  body.set('client_assertion_type', type)
}

const byLibrary = {
  async oauth4webapi() {
    const insecure = { [oauth.allowInsecureRequests]: true }
    const found = await oauth.discoveryRequest(url, { algorithm: 'oauth2', ...insecure })
    const as = await oauth.processDiscoveryResponse(url, found)
    const me = { client_id }
    const granted = await oauth.genericTokenEndpointRequest(
      as, me, oauth.None(), grant, { assertion: token, resource: api }, insecure,
    )
    const authenticated = await oauth.clientCredentialsGrantRequest(as, me, workload, { resource: api }, insecure)
    return [
      await oauth.processGenericTokenEndpointResponse(as, me, granted),
      await oauth.processClientCredentialsResponse(as, me, authenticated),
    ]
  },

  async 'openid-client'() {
    const options = { algorithm: 'oauth2', execute: [client.allowInsecureRequests] }
    const silent = await client.discovery(url, client_id, undefined, client.None(), options)
    const shown = await client.discovery(url, client_id, undefined, workload, options)
    return [
      await client.genericGrantRequest(silent, grant, { assertion: token, resource: api }),
      await client.clientCredentialsGrant(shown, { resource: api }),
    ]
  },
}

const answers = []
for (const { access_token } of await byLibrary[library]()) {
  const reply = await fetch(`${api}/orders`, { headers: { authorization: `Bearer ${access_token}` } })
  answers.push({ status: reply.status, body: await reply.json() })
}
console.log(JSON.stringify(answers))
