"""Compact JWS, keys and algorithms (RFC 7515, 7517, 7518, 8037, 9964), on top of `cryptography`.

Begin with compact.py: it parses, verifies and signs. keys.py has the keys as values, jwk.py and pem.py parse them, and
key_set.py parses JWK Sets. The package knows no OAuth, no clock and no I/O; it imports `errors` and `reasons`.
"""
