-- One row: the end of the last claim that was deleted. A claim that ends then or earlier may have been used.
CREATE TABLE forgotten (only INTEGER PRIMARY KEY CHECK (only = 1), until INTEGER NOT NULL) STRICT;
INSERT INTO forgotten VALUES (1, 0);
