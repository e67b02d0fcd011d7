-- When the family of a refresh token ends, however much it is used: in seconds since the epoch. It has no default, and so
-- a process of an older version, which would not look at refresh_end, can make no refresh token any more.
CREATE TABLE refresh_token_with_end (
  digest BLOB PRIMARY KEY, family TEXT NOT NULL, client_id TEXT NOT NULL, record BLOB NOT NULL,
  ends_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO refresh_token_with_end
  SELECT digest, family, client_id, record, CAST(record AS TEXT) ->> 'expires_at' FROM refresh_token;
DROP TABLE refresh_token;
ALTER TABLE refresh_token_with_end RENAME TO refresh_token;
CREATE INDEX refresh_token_by_client ON refresh_token (client_id);
CREATE INDEX refresh_token_by_end ON refresh_token (ends_at);

-- What ended many refresh tokens at once, one row for each selection: those that fit, and whose family began no later
-- than this number of the audit log. `reach` finds it; `until` is when the last of them ends.
CREATE TABLE refresh_end (
  selection BLOB PRIMARY KEY, reach TEXT NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL, until INTEGER NOT NULL)
  STRICT, WITHOUT ROWID;
CREATE INDEX refresh_end_by_reach ON refresh_end (reach);
CREATE INDEX refresh_end_by_end ON refresh_end (until);
