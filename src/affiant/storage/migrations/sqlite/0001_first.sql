CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- One row: how often clients, APIs and signing keys changed. Their caches compare it.
CREATE TABLE version (only INTEGER PRIMARY KEY CHECK (only = 1), number INTEGER NOT NULL) STRICT;
INSERT INTO version VALUES (1, 1);

CREATE TABLE client (client_id TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE api (identifier TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE signing_key (
  number INTEGER PRIMARY KEY AUTOINCREMENT, kid TEXT NOT NULL UNIQUE, record BLOB NOT NULL) STRICT;

-- First wins: the primary key is the promise that a jti is used once.
CREATE TABLE jti (
  client_id TEXT NOT NULL, digest BLOB NOT NULL, expires_at INTEGER NOT NULL,
  PRIMARY KEY (client_id, digest)) STRICT, WITHOUT ROWID;
CREATE INDEX jti_by_end ON jti (expires_at);

CREATE TABLE refresh_token (
  digest BLOB PRIMARY KEY, family TEXT NOT NULL, client_id TEXT NOT NULL, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_token_by_family ON refresh_token (family);
CREATE INDEX refresh_token_by_client ON refresh_token (client_id);

CREATE TABLE audit (
  number INTEGER PRIMARY KEY AUTOINCREMENT, trace_id TEXT NOT NULL, record BLOB NOT NULL, link BLOB NOT NULL) STRICT;
CREATE INDEX audit_by_trace ON audit (trace_id);
