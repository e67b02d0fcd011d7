"""The forms in which private keys are written: PEM, DER, PKCS #12, JWK, JWK Set, and the key files of other servers.

spelling.py undoes what env files and secret stores do to a text, without cryptography. pem.py and documents.py parse.
"""
