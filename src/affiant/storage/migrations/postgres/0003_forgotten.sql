-- The end of the last claim that was deleted. A claim that ends then or earlier may have been used.
ALTER TABLE audit_head ADD COLUMN forgotten bigint NOT NULL DEFAULT 0;

-- As in 0001, and false as well where a claim ends no later than that.
CREATE OR REPLACE FUNCTION commit_as_guessed(
  expected bytea, claims bytea[], ends bigint[], traces text[], records bytea[], links bytea[])
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  head audit_head;
BEGIN
  -- Each statement below sees what was committed before the lock was granted.
  SELECT * INTO head FROM audit_head FOR UPDATE;
  IF head.link <> expected OR EXISTS (
    SELECT FROM jti WHERE claimed = ANY (claims)
  ) OR EXISTS (
    SELECT FROM unnest(ends) AS claim (until) WHERE until <= head.forgotten
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
