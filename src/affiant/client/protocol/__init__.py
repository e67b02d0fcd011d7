"""The requests to an authorization server: flow.py makes them without I/O, transport.py sends them."""
