-- The place of each work in the audit log, and the process that does it: sinks and archives.
CREATE TABLE cursor (name text COLLATE "C" PRIMARY KEY, number bigint NOT NULL, holder text NOT NULL,
  until bigint NOT NULL, problem text NOT NULL) WITH (fillfactor = 50);
