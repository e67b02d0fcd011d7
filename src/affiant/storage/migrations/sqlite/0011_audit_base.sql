-- One row: where the audit log begins, after older records were archived and deleted. The seal is under the audit key.
CREATE TABLE audit_base (
  only INTEGER PRIMARY KEY CHECK (only = 1), number INTEGER NOT NULL, link BLOB NOT NULL, at INTEGER NOT NULL,
  seal BLOB NOT NULL
) STRICT;
INSERT INTO audit_base VALUES (1, 0, zeroblob(32), 0, x'');
