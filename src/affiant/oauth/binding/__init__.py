"""Proof of possession: tokens and clients that are bound to a key or a certificate.

dpop.py has the proofs of RFC 9449. mtls.py has the certificates of RFC 8705, forwarded.py finds them in requests, and
subject.py with distinguished.py compares their names.
"""
