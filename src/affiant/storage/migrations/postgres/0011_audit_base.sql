-- Where the audit log begins, after older records were archived and deleted. The seal is under the audit key.
CREATE TABLE audit_base (
  one boolean PRIMARY KEY CHECK (one), number bigint NOT NULL, link bytea NOT NULL, at bigint NOT NULL,
  seal bytea NOT NULL
);
INSERT INTO audit_base VALUES (true, 0, decode(repeat('00', 32), 'hex'), 0, '');
