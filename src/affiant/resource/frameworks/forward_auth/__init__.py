"""The guard as forward-auth: a proxy asks about each request, and forwards it if the answer is 200.

app.py answers; request.py reads what the client sent from what the proxy says; identity.py says who called.
"""

from affiant.resource.frameworks.forward_auth.app import ForwardAuth

__all__ = ["ForwardAuth"]
