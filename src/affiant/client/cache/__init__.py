"""The tokens that a service has: each is requested once, however many callers need it."""
