-- Access tokens that end before their time: one (jti), those of one line of refresh tokens (family), or all that a client
-- had by then (client).
CREATE TABLE revocation (
  kind TEXT NOT NULL, value TEXT NOT NULL, at INTEGER NOT NULL, until INTEGER NOT NULL,
  PRIMARY KEY (kind, value)) STRICT, WITHOUT ROWID;
CREATE INDEX revocation_by_end ON revocation (until);
