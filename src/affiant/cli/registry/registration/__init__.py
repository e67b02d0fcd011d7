"""`affiant register` and `affiant invitation`: services register themselves."""
