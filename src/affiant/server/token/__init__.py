"""The endpoints for tokens: issue, introspect, revoke.

`endpoint.TokenEndpoint.road` is the way of a token request; `policy` decides what is granted, and only `issue` mints.
"""
