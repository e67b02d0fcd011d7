"""The keys and secrets of clients.

`keys` and `secrets` say what a credential may do; `actions` has every change (add, prove, retire, cancel, revoke) and
the one function that commits it; `completion` says whether an old key can go.
"""
