-- A client's keys have lives of their own: the JWK Set in its record becomes a list of them. Through json and not jsonb,
-- which would take the members of a key apart and put them together in another order.
UPDATE client SET record = convert_to((
  SELECT json_object_agg(name, value)::text FROM (
    SELECT name, value FROM json_each(convert_from(record, 'UTF8')::json) AS member (name, value) WHERE name <> 'jwks'
    UNION ALL
    SELECT 'keys', (
      SELECT json_agg(json_build_object(
        'kid', key ->> 'kid', 'jwk', key::text,
        'created_at', convert_from(record, 'UTF8')::json -> 'created_at',
        'proved_at', convert_from(record, 'UTF8')::json -> 'created_at'))
      FROM json_array_elements((convert_from(record, 'UTF8')::json ->> 'jwks')::json -> 'keys') AS key)
  ) AS members), 'UTF8')
  WHERE convert_from(record, 'UTF8')::json ->> 'jwks' IS NOT NULL;

CREATE TABLE initial_access_token (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE,
  digest bytea NOT NULL UNIQUE, record bytea NOT NULL);
-- How often, and when last, a client authenticated with one of its keys or secrets.
CREATE TABLE key_use (client_id text COLLATE "C" NOT NULL, credential text COLLATE "C" NOT NULL, count bigint NOT NULL,
  first_at bigint NOT NULL, last_at bigint NOT NULL, PRIMARY KEY (client_id, credential));
