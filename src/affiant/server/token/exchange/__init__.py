"""Token exchange (RFC 8693): the token that a client presents, and what it may become."""
