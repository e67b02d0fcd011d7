CREATE TABLE setting (name text PRIMARY KEY, value text NOT NULL);
-- One row: how often clients, APIs and signing keys changed. Their caches compare it. Every change locks it first.
CREATE TABLE version (one boolean PRIMARY KEY CHECK (one), number bigint NOT NULL);
INSERT INTO version VALUES (true, 1);

-- COLLATE "C": names are compared and sorted by their bytes, whatever the database's language is.
CREATE TABLE client (client_id text COLLATE "C" PRIMARY KEY, record bytea NOT NULL);
CREATE TABLE api (identifier text COLLATE "C" PRIMARY KEY, record bytea NOT NULL);
CREATE TABLE signing_key (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kid text NOT NULL UNIQUE,
  record bytea NOT NULL);

-- First wins: the primary key is the promise that a jti is used once. 16 bytes of SHA-256 over client and jti: half
-- the room, and room is what this table takes most of.
CREATE TABLE jti (claimed bytea PRIMARY KEY, expires_at bigint NOT NULL);
CREATE INDEX jti_by_end ON jti (expires_at);

CREATE TABLE refresh_token (digest bytea PRIMARY KEY, family text NOT NULL, client_id text COLLATE "C" NOT NULL,
  record bytea NOT NULL);
CREATE INDEX refresh_token_by_family ON refresh_token (family);
CREATE INDEX refresh_token_by_client ON refresh_token (client_id);

CREATE TABLE audit (number bigint PRIMARY KEY, trace_id text NOT NULL, record bytea NOT NULL, link bytea NOT NULL);
CREATE INDEX audit_by_trace ON audit (trace_id);
-- One row: where the chain ends. Every commit locks it first, so the nodes append one after the other; and it keeps
-- the highest number that was ever given, though rows be cut off the end. A sequence would leave gaps.
CREATE TABLE audit_head (one boolean PRIMARY KEY CHECK (one), number bigint NOT NULL, link bytea NOT NULL)
  WITH (fillfactor = 10);
INSERT INTO audit_head VALUES (true, 0, decode(repeat('00', 32), 'hex'));

-- A whole group in one round trip, when its node guessed right: that no node has appended since (`expected` is still the
-- newest link), and that every jti is new. The links were made for that case, by the node: the database has no key.
-- False: the guess was wrong, and nothing was done.
CREATE FUNCTION commit_as_guessed(
  expected bytea, claims bytea[], ends bigint[], traces text[], records bytea[], links bytea[])
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  head audit_head;
BEGIN
  -- Each statement below sees what was committed before the lock was granted.
  SELECT * INTO head FROM audit_head FOR UPDATE;
  IF head.link <> expected OR EXISTS (
    SELECT FROM jti WHERE claimed = ANY (claims)
  ) THEN
    RETURN false;
  END IF;
  -- No ON CONFLICT: a second claim, however it came here, must undo the commit.
  INSERT INTO jti SELECT * FROM unnest(claims, ends);
  INSERT INTO audit SELECT head.number + place, trace_id, record, link
    FROM unnest(traces, records, links) WITH ORDINALITY AS row (trace_id, record, link, place);
  UPDATE audit_head SET number = head.number + cardinality(links), link = links[cardinality(links)];
  RETURN true;
END
$$;
