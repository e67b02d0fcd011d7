-- Teams; and the team of each client, by which its team lists it. Clients of before have none.
CREATE TABLE team (name text COLLATE "C" PRIMARY KEY, record bytea NOT NULL);
ALTER TABLE client ADD COLUMN team text COLLATE "C";
CREATE INDEX client_of_team ON client (team, client_id);
