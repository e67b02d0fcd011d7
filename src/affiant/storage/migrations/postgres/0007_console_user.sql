-- Users of the console, with their passkeys, sessions and sign-in links.
CREATE TABLE console_user (name text COLLATE "C" PRIMARY KEY, record bytea NOT NULL);
CREATE TABLE passkey (id text COLLATE "C" PRIMARY KEY, username text NOT NULL, record bytea NOT NULL);
CREATE INDEX passkey_of ON passkey (username);
CREATE TABLE console_session (id text COLLATE "C" PRIMARY KEY, username text NOT NULL, record bytea NOT NULL);
CREATE INDEX console_session_of ON console_session (username);
CREATE TABLE sign_in_link (id text COLLATE "C" PRIMARY KEY, username text NOT NULL, record bytea NOT NULL);
CREATE INDEX sign_in_link_of ON sign_in_link (username);
CREATE TABLE used_challenge (id text COLLATE "C" PRIMARY KEY, record bytea NOT NULL);
