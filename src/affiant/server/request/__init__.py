"""One request on its way: read, noted, limited, answered."""
