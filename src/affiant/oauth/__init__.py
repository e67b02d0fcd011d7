"""The rules of OAuth that both ends of a connection apply: messages, tokens, metadata, and their checks.

One module for each format of an RFC, with its builder and its verifier: assertion.py for the authentication of clients,
access_token.py and resource_request.py for the calls to APIs. The package is pure: time, keys and randomness are
arguments. It imports `jose`, and knows neither client nor server.
"""
