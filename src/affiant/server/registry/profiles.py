"""The profiles: what is demanded of a client beyond what everyone is held to, of one client or of all of a server.

``guide`` lets a client send what a common guide says; where that request is read, its rules stand too. ``fapi`` is what
FAPI 2.0 Security Profile demands of client_credentials (sections 5.3.2.1 and 5.4.1), as values that each step looks at.
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
    """What a profile demands.

    Attributes:
        methods: the only ones by which a client authenticates; None for each that the server takes.
        algorithms: the only ones for whatever the client signs, and for its access tokens; None for all.
        audience: the policy for the audience of its assertions, whatever was registered; None for what was.
        binds: whether each access token is bound to a key of the client.
        rotates: whether a refresh token is followed by another when it is used.
    """

    methods: tuple[str, ...] | None = None
    algorithms: tuple[str, ...] | None = None
    audience: str | None = None
    binds: bool = False
    rotates: bool = True

    def allows_method(self, method: str) -> bool:
        """Whether a client may authenticate so."""
        return self.methods is None or method in self.methods

    def allows_algorithm(self, alg: str) -> bool:
        """Whether a client may sign so, and its tokens be signed so."""
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
    """What is demanded of a client of this profile, by a server that demands at least so much of all."""
    return FAPI_2 if name == FAPI else least


def check(
    profile: str | None,
    auth_method: str,
    *,
    keys: Sequence[PublicKey] = (),
    alg: str | None = None,
    least: Demands = NONE,
) -> None:
    """Whether a client may be registered so."""
    if profile is not None and profile not in PROFILES:
        raise ConfigError(f"the profiles are: {', '.join(PROFILES)}")
    demands = find(profile, least=least)
    if not demands.allows_method(auth_method):
        raise ConfigError(f"by the fapi profile a client authenticates by one of: {', '.join(demands.methods or ())}")
    if auth_method != names.PRIVATE_KEY_JWT:
        return  # a key of a certificate signs no JWT
    if not all(any(map(demands.allows_algorithm, [alg] if alg else key.algorithms)) for key in keys):
        raise ConfigError(f"by the fapi profile a client signs with one of: {', '.join(demands.algorithms or ())}")


def check_change(before: str | None, after: str | None) -> None:
    """Raise ConfigError for the guide profile: the secret of such a client was made for its requests."""
    if GUIDE in (before, after):
        raise ConfigError("a client has the guide profile from its registration on, or never: register another client")
