import pytest
from tests import rsa_keys

from affiant.errors import ConfigError
from affiant.jose import jwk, keys

PRIMES = ("p", "q", "dp", "dq", "qi")


@pytest.fixture(scope="module")
def rsa_key() -> keys.PrivateKey:
    return rsa_keys.rsa_key()


@pytest.mark.rfc(7518, "6.3.2")
def test_rsa_private_key_without_its_primes_is_completed(rsa_key: keys.PrivateKey) -> None:
    short = {name: value for name, value in rsa_key.to_jwk().items() if name not in PRIMES}
    found = jwk.parse(short)
    # p and q may have changed places
    assert {found.members["p"], found.members["q"]} == {rsa_key.to_jwk()["p"], rsa_key.to_jwk()["q"]}


@pytest.mark.rfc(7518, "6.3.2")
@pytest.mark.parametrize("missing", PRIMES)
def test_rsa_private_key_with_some_of_its_primes_is_rejected(rsa_key: keys.PrivateKey, missing: str) -> None:
    with pytest.raises(ConfigError, match="missing or wrong"):
        jwk.parse({name: value for name, value in rsa_key.to_jwk().items() if name != missing})


@pytest.mark.rfc(7518, "6.3.2.7")
@pytest.mark.parametrize("part", ["private", "public"])
def test_rsa_key_with_more_primes_is_rejected(rsa_key: keys.PrivateKey, part: str) -> None:
    key = rsa_key if part == "private" else rsa_key.public()
    with pytest.raises(ConfigError, match="missing or wrong"):
        jwk.parse({**key.to_jwk(), "oth": []})


@pytest.mark.parametrize("alg", ["RS256", "ES256", "ES512", "Ed25519", "ML-DSA-44"])
def test_private_part_of_another_key_is_rejected(alg: str) -> None:
    mine, other = keys.generate(alg).to_jwk(), keys.generate(alg).to_jwk()
    public = {name: value for name, value in mine.items() if name not in jwk.PRIVATE_MEMBERS}
    with pytest.raises(ConfigError):
        jwk.parse({**other, **public})


@pytest.mark.parametrize("alg", ["RS256", "ES256", "ES384", "ES512", "Ed25519", "ML-DSA-65"])
@pytest.mark.parametrize("part", ["private", "public"])
def test_jwk_of_a_key_reads_back_as_the_same(alg: str, part: str) -> None:
    made = keys.generate(alg)
    members = jwk.build(made.key if part == "private" else made.key.public_key())
    assert jwk.parse(members).members == members


@pytest.mark.parametrize("kty", [None, "oct", "rsa", ["RSA"], {"RSA": 1}, 1])
def test_other_kty_is_rejected(kty: object) -> None:
    with pytest.raises(ConfigError, match="kty must be"):
        jwk.parse({"kty": kty})


@pytest.mark.parametrize("member", ["x", "y"])
def test_ec_key_without_a_coordinate_is_rejected(member: str) -> None:
    members = jwk.build(keys.generate("ES256").key)
    del members[member]
    with pytest.raises(ConfigError, match="missing or wrong"):
        jwk.parse(members)
