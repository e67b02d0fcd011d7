"""Keys in a PKCS #11 token: a hardware security module, a smart card, a TPM, or SoftHSM.

session.py finds the token, logs in, and lets one thread call its module. token.py has the keys that a server makes in
it; uri.py and key.py a key that exists there already. The rooms load python-pkcs11, which is an extra.
"""
