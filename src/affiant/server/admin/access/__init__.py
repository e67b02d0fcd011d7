"""Who may change what: owners, and teams, to which the role of a viewer or an operator can be limited.

Every route works on the store that `store.open` returns for its caller, and so none can forget the limit.
"""
