"""The first pages of a visit: the setup of a new server, the overview, the search."""
