"""Log lines: of every decision, and of what happens to the server; for people or as JSON."""
