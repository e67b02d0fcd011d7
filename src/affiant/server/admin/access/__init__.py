"""Limits of the callers of the admin API: a role, and teams, to which a viewer or an operator can be limited.

Every route works on the store that `store.open` returns for its caller, and so none can forget the limit.
"""
