// oidc-provider (panva) as bench/subjects.py starts it: client_credentials, ES256 access tokens as JWTs, and an adapter
// that keeps everything in SQLite before the answer.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { MODULES, PORT, DATABASE, SYNCHRONOUS, CONFIGURATION } = process.env;
const require = createRequire(`${MODULES}/`);
const { Provider } = await import(require.resolve('oidc-provider'));
const Database = require('better-sqlite3');
const given = JSON.parse(readFileSync(CONFIGURATION));

const database = new Database(DATABASE);
database.pragma('journal_mode = WAL');
database.pragma(`synchronous = ${SYNCHRONOUS}`);
database.exec('CREATE TABLE IF NOT EXISTS model (id TEXT PRIMARY KEY, payload TEXT NOT NULL, expires_at INTEGER) WITHOUT ROWID');
const save = database.prepare(
  'INSERT INTO model VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET payload = excluded.payload, expires_at = excluded.expires_at',
);
const load = database.prepare('SELECT payload, expires_at FROM model WHERE id = ?');
const remove = database.prepare('DELETE FROM model WHERE id = ?');
const now = () => Math.floor(Date.now() / 1000);

class Adapter {
  constructor(name) {
    this.name = name;
  }

  async upsert(id, payload, lifetime) {
    save.run(`${this.name}:${id}`, JSON.stringify(payload), lifetime ? now() + lifetime : null);
  }

  async find(id) {
    const row = load.get(`${this.name}:${id}`);
    return row && !(row.expires_at && row.expires_at <= now()) ? JSON.parse(row.payload) : undefined;
  }

  async destroy(id) {
    remove.run(`${this.name}:${id}`);
  }

  // Not needed for client_credentials.
  async consume() {}
  async revokeByGrantId() {}
  async findByUid() {}
  async findByUserCode() {}
}

const client = {
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  id_token_signed_response_alg: 'ES256',
  scope: given.scope,
};
const provider = new Provider(given.issuer, {
  adapter: Adapter,
  jwks: given.server_keys,
  clientAuthMethods: ['private_key_jwt', 'client_secret_basic'],
  enabledJWA: { idTokenSigningAlgValues: ['ES256'], clientAuthSigningAlgValues: ['ES256'] },
  clients: [
    {
      ...client,
      client_id: given.key_client,
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      jwks: given.client_keys,
    },
    {
      ...client,
      client_id: given.secret_client,
      client_secret: given.secret,
      token_endpoint_auth_method: 'client_secret_basic',
    },
  ],
  scopes: [given.scope],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
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
const server = provider.listen(Number(PORT), '127.0.0.1');
server.keepAliveTimeout = 65_000;
