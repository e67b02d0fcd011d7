// oidc-provider (panva) over https, as the issuer of workloads: /jwt/ALG/USE answers with a JWT that it signs for its client.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';

const { MODULES, PORT, CONFIGURATION } = process.env;
const require = createRequire(`${MODULES}/`);
const { Provider } = await import(require.resolve('oidc-provider'));
const given = JSON.parse(readFileSync(CONFIGURATION));

const provider = new Provider(given.issuer, {
  jwks: given.server_keys,
  clients: [
    {
      client_id: given.audience,
      client_secret: 'a secret of 32 characters, or more',
      redirect_uris: ['https://client.example/'],
    },
  ],
  claims: { openid: ['sub', 'build'] },
  features: { devInteractions: { enabled: false } },
  interactions: { url: () => '/none' },
});
provider.on('server_error', (_, error) => console.error(error));

async function sign(alg, use) {
  const client = await provider.Client.find(given.audience);
  client.idTokenSignedResponseAlg = alg;
  const token = new provider.IdToken({ sub: 'build:42', build: { branch: 'main' } }, { client });
  token.scope = 'openid';
  return token.issue({ use });
}

const callback = provider.callback();
const tls = { cert: readFileSync(given.certificate), key: readFileSync(given.key) };
createServer(tls, async (request, response) => {
  const [, kind, alg, use] = request.url.split('/');
  if (kind === 'jwt') response.end(await sign(alg, use));
  else callback(request, response);
}).listen(Number(PORT), '127.0.0.1');
