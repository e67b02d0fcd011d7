-- The place of each work in the audit log, and the process that does it: sinks and archives.
CREATE TABLE cursor (name TEXT PRIMARY KEY, number INTEGER NOT NULL, holder TEXT NOT NULL, until INTEGER NOT NULL,
  problem TEXT NOT NULL) STRICT, WITHOUT ROWID;
