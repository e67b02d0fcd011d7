"""The group Registry: clients, APIs and invitations, by single commands or by a file."""
