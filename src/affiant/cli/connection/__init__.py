"""Where the server or its data is, and how a command asks its admin API."""
