"""`affiant demo`: the whole road on this machine, with real parts."""
