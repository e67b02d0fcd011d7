"""Credentials of new clients, handed over to their owners: a file on this machine, or text for a partner."""
