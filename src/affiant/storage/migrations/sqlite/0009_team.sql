-- Teams; and the team of each client, by which its team lists it. Clients of before have none.
CREATE TABLE team (name TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
ALTER TABLE client ADD COLUMN team TEXT;
CREATE INDEX client_of_team ON client (team, client_id);
