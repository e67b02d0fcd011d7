"""The data or the server that a command works with.

A command gets a `Place` from its options and asks the admin API through it: in this process for data on this machine,
over HTTP for a remote server.
"""
