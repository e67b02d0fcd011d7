"""JWKs and MACs: what no token request shows (tests/attacks/test_jose.py has the rest)."""

from typing import Any

import pytest

from affiant.errors import ConfigError
from affiant.jose import base64url, keys
from affiant.jose.key_set import KeySet
from affiant.jose.keys import SecretKey
from affiant.testing import KEY, Server


@pytest.mark.rfc(7518, "3.2")
@pytest.mark.parametrize(("alg", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
async def test_mac_key_length(server: Server, alg: str, size: int) -> None:
    """A key of the same size as the hash output or larger MUST be used; the secrets made here are."""
    with pytest.raises(ConfigError, match=f"at least {size} bytes"):
        SecretKey(bytes(size - 1), alg)
    name = f"mac-{alg}"
    await server.add_client(name, "client_secret_jwt", token_endpoint_auth_signing_alg=alg)
    assert len(server.secrets[name].encode()) >= size
    await server.token(name)


@pytest.mark.rfc(7518, "6.2.1.2")
@pytest.mark.rfc(7518, "6.2.1.3")
@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512"])
@pytest.mark.parametrize("name", ["x", "y"])
def test_coordinate_has_full_size(alg: str, name: str) -> None:
    """MUST, with leading zeros and no more of them: a key has one spelling, and a long one is not computed with."""
    jwk = keys.generate(alg).public().to_jwk()
    right = base64url.decode(jwk[name])
    for wrong in (b"\0" + right, right[1:], right[:-1], right + b"\0", b"\1" * 4000):
        with pytest.raises(ConfigError, match=f"{name} must be {len(right)} bytes"):
            keys.parse_public_jwk({**jwk, name: base64url.encode(wrong)})
    assert keys.parse_public_jwk(jwk).to_jwk() == jwk


@pytest.mark.rfc(7517, "5")
def test_unusable_keys_are_ignored() -> None:
    """SHOULD ignore JWKs of an unknown kty, with missing members or values out of range."""
    good = KEY.public().to_jwk()
    odd: list[Any] = [{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}, {"kty": "EC"}, {}, 1, {**good, "crv": "P-192"}]
    assert [key.kid for key in KeySet.parse({"keys": [*odd, good]}).keys] == [KEY.kid]
