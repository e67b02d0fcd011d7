"""The data that a guard needs from an issuer: metadata, keys, revocations and introspection.

worker.py is the thread that fetches, flight.py lets many requests wait for one fetch, remote.py sends the requests.
"""
