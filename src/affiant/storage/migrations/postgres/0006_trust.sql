-- Issuers whose tokens identify workloads, and the rules that give their tokens a client.
CREATE TABLE trust (name text COLLATE "C" PRIMARY KEY, record bytea NOT NULL);
CREATE TABLE rule (name text COLLATE "C" PRIMARY KEY, record bytea NOT NULL);
