"""Everything that lasts: records, the ports to them, and three stores that implement the ports.

`ports` is the entry: what every store promises. `registry` has each operation on clients, APIs, keys and settings once,
as steps that a store performs; `commit` has what a request's entries do to claims, refresh tokens and revocations.
`memory`, `sqlite` and `postgres` are the stores; `sql` is what the last two have in common. Of the rest of the package,
only server.app, the command line and affiant.testing name a store.
"""
