"""Profiles: additional rules for one client, or for all clients of a server.

``guide`` allows the requests of a common guide. ``fapi`` has the demands of FAPI 2.0 Security Profile on
client_credentials (sections 5.3.2.1 and 5.4.1), as values that each step reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from affiant.errors import ConfigError
from affiant.jose.keys import PublicKey
from affiant.oauth import names

GUIDE, FAPI = "guide", "fapi"
PROFILES = (GUIDE, FAPI)


@dataclass(frozen=True, slots=True)
class Demands:
    """The demands of a profile."""

    methods: tuple[str, ...] | None = None  # of authentication; None for all of the server
    algorithms: tuple[str, ...] | None = None  # of everything the client signs, and its access tokens; None for all
    audience: str | None = None  # policy for its assertions; None for the registered one
    binds: bool = False  # every access token is bound to a key of the client
    rotates: bool = True  # a refresh token is replaced when it is used

    def allows_method(self, method: str) -> bool:
        return self.methods is None or method in self.methods

    def allows_algorithm(self, alg: str) -> bool:
        return self.algorithms is None or alg in self.algorithms


NONE = Demands()
FAPI_2 = Demands(
    methods=(names.PRIVATE_KEY_JWT, names.TLS_CLIENT_AUTH, names.SELF_SIGNED_TLS_CLIENT_AUTH),  # 5.3.2.1 item 6
    # 5.4.1 item 1. EdDSA is the older name of Ed25519: no other curve is accepted here anyway.
    algorithms=("PS256", "ES256", "Ed25519", "EdDSA"),
    audience="string",  # 5.3.2.1 item 8
    binds=True,  # items 4 and 5
    rotates=False,  # item 9
)


def find(name: str | None, *, least: Demands = NONE) -> Demands:
    """Return the demands on a client of this profile; `least` are those of the server on every client."""
    return FAPI_2 if name == FAPI else least


def check(
    profile: str | None,
    auth_method: str,
    *,
    keys: Sequence[PublicKey] = (),
    alg: str | None = None,
    least: Demands = NONE,
) -> None:
    """Raise ConfigError if the profile, or the server, does not allow this client."""
    demands = find(profile, least=least)
    if not demands.allows_method(auth_method):
        raise ConfigError(f"the fapi profile allows these methods only: {', '.join(demands.methods or ())}")
    if auth_method != names.PRIVATE_KEY_JWT:
        return  # a key of a certificate signs no JWT
    if not all(any(map(demands.allows_algorithm, [alg] if alg else key.algorithms)) for key in keys):
        raise ConfigError(f"the fapi profile allows these algorithms only: {', '.join(demands.algorithms or ())}")


def check_change(before: str | None, after: str | None) -> None:
    """Raise ConfigError for the guide profile: the secret of such a client was made for its requests."""
    if GUIDE in (before, after):
        raise ConfigError("a client has the guide profile from its registration on, or never: register another client")
