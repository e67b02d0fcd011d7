-- How often something happened, by minute, hour and day; client_id is empty for the whole server. The primary key finds
-- the counts of one client, or of the whole server; the index finds those of all clients in one span of time. A count
-- that grows changes no indexed column, and finds room next to it: such an update leaves the indexes alone.
CREATE TABLE counts (client_id text COLLATE "C" NOT NULL, unit text COLLATE "C" NOT NULL, kind text COLLATE "C" NOT NULL,
  at bigint NOT NULL, label text COLLATE "C" NOT NULL, count bigint NOT NULL,
  PRIMARY KEY (client_id, unit, kind, at, label)) WITH (fillfactor = 70);
CREATE INDEX counts_by_time ON counts (unit, kind, at) WHERE client_id > '';
