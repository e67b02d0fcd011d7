"""`affiant helper`: tokens for git, docker, pip and kubectl, each in the protocol by which that program asks.

holder.py has what the helpers share: the token, and the hosts that it may go to. The others speak the protocols.
"""
