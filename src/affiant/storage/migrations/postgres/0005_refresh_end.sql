-- When the family of a refresh token ends, however much it is used: in seconds since the epoch. It has no default, and so
-- a node of an older version, which would not look at refresh_end, can make no refresh token any more.
ALTER TABLE refresh_token ADD COLUMN ends_at bigint;
DROP INDEX refresh_token_by_family, refresh_token_by_client;
-- As a change of its type, which rewrites the table: an UPDATE would leave every row in it twice.
ALTER TABLE refresh_token
  ALTER COLUMN ends_at TYPE bigint USING (convert_from(record, 'UTF8')::json ->> 'expires_at')::bigint,
  ALTER COLUMN ends_at SET NOT NULL;
CREATE INDEX refresh_token_by_client ON refresh_token (client_id);
CREATE INDEX refresh_token_by_end ON refresh_token (ends_at);

-- What ended many refresh tokens at once, one row for each selection: those that fit, and whose family began no later
-- than this number of the audit log. `reach` finds it; `until` is when the last of them ends.
CREATE TABLE refresh_end (selection bytea PRIMARY KEY, reach text COLLATE "C" NOT NULL, number bigint NOT NULL,
  at bigint NOT NULL, until bigint NOT NULL);
CREATE INDEX refresh_end_by_reach ON refresh_end (reach);
CREATE INDEX refresh_end_by_end ON refresh_end (until);
