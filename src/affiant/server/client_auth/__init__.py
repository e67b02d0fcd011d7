"""Client authentication, for every endpoint.

`ladder.Authenticator` takes the steps in their one order; `method.py` says what a method is, and each file in
`methods/` is one. A new method is a new file there, and a row in oauth/names.CREDENTIALS.
"""
