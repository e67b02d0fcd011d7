// oidc-provider (panva) with its defaults, and clients that authenticate by private_key_jwt. Every DPoP proof needs a nonce.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { MODULES, PORT, CONFIGURATION } = process.env;
const require = createRequire(`${MODULES}/`);
const { Provider } = await import(require.resolve('oidc-provider'));
const given = JSON.parse(readFileSync(CONFIGURATION));
const algorithms = ['ES256', 'RS256', 'PS256', 'Ed25519', 'EdDSA'];

const provider = new Provider(given.issuer, {
  jwks: given.server_keys,
  clientAuthMethods: ['private_key_jwt'],
  enabledJWA: { clientAuthSigningAlgValues: algorithms, dPoPSigningAlgValues: algorithms },
  scopes: [given.scope],
  clients: given.clients.map(({ client_id, alg, key, dpop }) => ({
    client_id,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    scope: given.scope,
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: alg,
    dpop_bound_access_tokens: dpop,
    jwks: { keys: [key] },
  })),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => given.api,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: given.scope,
        audience: given.api,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 600,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
  interactions: { url: () => '/none' },
});
provider.on('server_error', (_, error) => console.error(error));
provider.listen(Number(PORT), '127.0.0.1');
