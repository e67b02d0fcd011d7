-- Access tokens that end before their time: one (jti), those of one line of refresh tokens (family), or all that a client
-- had by then (client).
CREATE TABLE revocation (kind text NOT NULL, value text COLLATE "C" NOT NULL, at bigint NOT NULL, until bigint NOT NULL,
  PRIMARY KEY (kind, value));
CREATE INDEX revocation_by_end ON revocation (until);
