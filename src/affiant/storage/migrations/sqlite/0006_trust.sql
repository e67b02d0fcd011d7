-- Issuers whose tokens identify workloads, and the rules that give their tokens a client.
CREATE TABLE trust (name TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE rule (name TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
