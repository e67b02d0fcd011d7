-- How often something happened, by minute, hour and day; client_id is empty for the whole server. The primary key finds
-- the counts of one client, or of the whole server; the index finds those of all clients in one span of time.
CREATE TABLE counts (
  client_id TEXT NOT NULL, unit TEXT NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL, label TEXT NOT NULL,
  count INTEGER NOT NULL, PRIMARY KEY (client_id, unit, kind, at, label)) STRICT, WITHOUT ROWID;
CREATE INDEX counts_by_time ON counts (unit, kind, at) WHERE client_id > '';
