-- A client's keys have lives of their own: the JWK Set in its record becomes a list of them.
UPDATE client SET record = CAST(json_remove(json_set(record, '$.keys', (
  SELECT json_group_array(json_object(
    'kid', key.value ->> 'kid', 'jwk', key.value || '', 'created_at', record ->> 'created_at',
    'proved_at', record ->> 'created_at'))
  FROM json_each(record ->> 'jwks', '$.keys') AS key)), '$.jwks') AS BLOB)
  WHERE record ->> 'jwks' IS NOT NULL;

CREATE TABLE initial_access_token (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, digest BLOB NOT NULL UNIQUE, record BLOB NOT NULL)
  STRICT;
-- How often, and when last, a client authenticated with one of its keys or secrets.
CREATE TABLE key_use (
  client_id TEXT NOT NULL, credential TEXT NOT NULL, count INTEGER NOT NULL, first_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL, PRIMARY KEY (client_id, credential)) STRICT, WITHOUT ROWID;
