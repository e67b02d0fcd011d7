"""Where a visit begins: the setup of a new server, the overview, the search."""
