"""The endpoints for tokens: issue, introspect, revoke.

`endpoint.TokenEndpoint.road` has the steps of a token request. `policy` decides what is granted; only `issue` mints.
"""
