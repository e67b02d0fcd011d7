"""The operating system: private files, the network, tasks in flight, and text for terminals.

Every role uses this package; it imports only `errors`.
"""
