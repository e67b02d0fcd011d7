"""Another affiant server, whose feed of revocations is followed."""

from __future__ import annotations

from affiant.oauth.federation import trusted_token
from affiant.server.registry.federation.known import FOLLOWED
from affiant.server.registry.federation.platforms.platform import Need, Platform, Question

AFFIANT = Platform(
    name=FOLLOWED,
    title="another affiant server",
    needs=(
        Need(
            ("client_id", "sub"),
            "client_id=billing",
            "all clients of that server have its keys",
        ),
    ),
    # REUSED first: clients of affiant show one token until it expires.
    replays=trusted_token.REPLAYS[::-1],
    questions=(
        Question("ISSUER", "its issuer identifier", is_issuer=True),
        Question("CLIENT_ID", "of its client", claim="client_id"),
    ),
    example="https://as.example billing --client partner",
)
