"""The checks of a server, at its data: on the machine, in the database, and from outside."""
