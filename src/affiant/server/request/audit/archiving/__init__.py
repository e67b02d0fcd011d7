"""The archive of old audit records: files first, then the rows go."""
