"""`affiant client import`: clients of another server, from what it exports."""
