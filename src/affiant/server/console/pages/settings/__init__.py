"""The server and those who run it: its settings and health, its users, their teams."""
