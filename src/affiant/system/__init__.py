"""Failures of the operating system, in sentences that say what to do: files of other users, and the network.

Every role uses this package; it imports only `errors`.
"""
