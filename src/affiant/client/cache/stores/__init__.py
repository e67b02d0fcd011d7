"""Where the processes of one client share its access tokens: a folder, encrypted or not, the keyring, Redis.

store.py says what a store does, and kept.py what is in it. A store keeps bytes and needs to know no more.
"""
