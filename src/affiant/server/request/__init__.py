"""The parts of every endpoint: HTTP, limits, deadlines, the audit record, and the one way to fail.

`endpoint.Endpoint` is the base of all endpoints; `notes.Request` is one request, `caller.Caller` its client.
"""
