-- One row: the end of the last claim that was deleted. What ends no later may have been used, and nobody knows any more.
CREATE TABLE forgotten (only INTEGER PRIMARY KEY CHECK (only = 1), until INTEGER NOT NULL) STRICT;
INSERT INTO forgotten VALUES (1, 0);
