-- Users of the console, with their passkeys, sessions and sign-in links.
CREATE TABLE console_user (name TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE passkey (id TEXT PRIMARY KEY, username TEXT NOT NULL, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX passkey_of ON passkey (username);
CREATE TABLE console_session (id TEXT PRIMARY KEY, username TEXT NOT NULL, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX console_session_of ON console_session (username);
CREATE TABLE sign_in_link (id TEXT PRIMARY KEY, username TEXT NOT NULL, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX sign_in_link_of ON sign_in_link (username);
CREATE TABLE used_challenge (id TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
