"""Private keys and where they are: in this process, or in a device or service that they never leave.

local.py makes a `Signer` of whatever names a key. Server and client share these rooms; both are above.
"""
