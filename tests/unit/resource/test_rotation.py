"""The guard meets the issuer's new keys, and forgets those that are gone."""

import asyncio
from typing import Any

import httpx2
import pytest
from tests.unit.resource import issuer as issuers
from tests.unit.resource.issuer import NOW, reason_of

from affiant.errors import Rejected, RemoteError
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.resource import Guard
from affiant.resource.issuer.keys import FRESH_SECONDS, LEAST_SECONDS, REFILL_SECONDS


class Issuer(issuers.Issuer):
    """With one key after the other, and counted fetches."""

    def __init__(self) -> None:
        super().__init__()
        self.fetches, self.failures = 0, 0
        self.asked, self.answered = asyncio.Event(), asyncio.Event()
        self.answered.set()
        self.odd: list[dict[str, Any]] = []  # published before the keys
        self.control = "public, max-age=300"

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if not self.is_up:
            self.failures += request.url.path == "/jwks"
            raise httpx2.ConnectError("down")
        return await super().__call__(request)

    async def jwks(self) -> httpx2.Response:
        self.fetches += 1
        self.asked.set()
        published = {"keys": self.odd + [key.public().to_jwk() for key in self.keys]}
        await self.answered.wait()
        return httpx2.Response(200, json=published, headers={"Cache-Control": self.control})

    def rotate(self) -> None:
        self.keys.append(keys.generate("ES256"))


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def guard(issuer: Issuer) -> Guard:
    return issuer.guard()


async def test_many_tokens_at_once_under_a_new_key(issuer: Issuer, guard: Guard) -> None:
    """One fetch is enough for all; the limit is for kids that do not exist."""
    await guard.check([issuer.token()])
    issuer.rotate()
    await asyncio.gather(*(guard.check([issuer.token(jti=str(n))]) for n in range(50)))
    assert issuer.fetches == 2


async def test_a_fetch_that_began_before_the_key_was_published_is_not_the_last_word(
    issuer: Issuer, guard: Guard
) -> None:
    await guard.check([issuer.token()])
    issuer.asked.clear()
    issuer.answered.clear()
    stranger = asyncio.create_task(guard.check([issuer.token(key=keys.generate("ES256"))]))
    await issuer.asked.wait()
    issuer.rotate()
    late = [asyncio.create_task(guard.check([issuer.token(jti=str(n))])) for n in range(20)]
    await asyncio.sleep(0)
    issuer.answered.set()
    await asyncio.gather(*late)
    with pytest.raises(Rejected):
        await stranger
    assert issuer.fetches == 3


async def test_a_hundred_rotations_within_one_second(issuer: Issuer, guard: Guard) -> None:
    for _ in range(100):
        await guard.check([issuer.token()])
        issuer.rotate()
        issuer.keys = issuer.keys[-2:]


@pytest.mark.attack(254)
async def test_a_storm_of_unknown_kids_stays_one(issuer: Issuer, guard: Guard) -> None:
    """It costs three fetches for any number of tokens, and known keys are used on."""
    await guard.check([issuer.token()])
    stranger = keys.generate("ES256")
    refused = await asyncio.gather(
        *(guard.check([issuer.token(key=stranger, jti=str(n))]) for n in range(50)), return_exceptions=True
    )
    for n in range(1000):
        with pytest.raises(Rejected):
            await guard.check([issuer.token(key=under(str(n), stranger))])
    assert all(isinstance(error, Rejected) and error.reason is Reason.TOKEN_KEY for error in refused)
    assert issuer.fetches <= 4
    await guard.check([issuer.token()])


async def test_a_new_key_while_the_issuer_is_away(issuer: Issuer, guard: Guard) -> None:
    """503 while it is unknown whether there is such a key; 401 when the issuer has answered. Known keys are used on."""
    await guard.check([issuer.token()])
    issuer.is_up = False
    stranger = keys.generate("ES256")
    for n in range(9):
        with pytest.raises(RemoteError, match="down"):
            await guard.check([issuer.token(key=stranger, jti=str(n))])
    assert issuer.failures == 3
    issuer.is_up = True
    issuer.now += REFILL_SECONDS
    for _ in range(2):
        assert await reason_of(guard, issuer.token(key=stranger)) is Reason.TOKEN_KEY
    await guard.check([issuer.token()])


@pytest.mark.attack(240)
async def test_a_removed_key_is_forgotten_in_five_minutes(issuer: Issuer, guard: Guard) -> None:
    """Tokens that were proved before, too: what was remembered ends with the copy of the key set."""
    old = issuer.token()
    await guard.check([old])
    issuer.keys = [keys.generate("ES256")]
    issuer.now += FRESH_SECONDS - 1
    await guard.check([old])
    issuer.now += 1
    for _ in range(2):
        assert await reason_of(guard, old) is Reason.TOKEN_KEY
    await guard.check([issuer.token()])


async def test_unchanged_keys_keep_verified_signatures(
    issuer: Issuer, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = issuer.token()
    for _ in range(2):
        await guard.check([token])
    monkeypatch.setattr(compact, "verify", None)
    issuer.now += FRESH_SECONDS
    await guard.check([token])
    assert issuer.fetches == 2


@pytest.mark.rfc(9111, "5.2.2")
@pytest.mark.parametrize(
    ("control", "kept"),
    [
        ("", 300),
        ("no-store", LEAST_SECONDS),
        ("private, NO-CACHE", LEAST_SECONDS),
        ("max-age=0", LEAST_SECONDS),
        ("max-age=60, no-store", LEAST_SECONDS),
        ("max-age=60", 60),
        ("x-max-age=9, max-age=60", 60),
        ("max-age=600", 600),
        ("max-age=99999999", 86_400),
        ("max-age=x", 300),
    ],
)
async def test_a_copy_is_kept_as_long_as_the_issuer_says(
    issuer: Issuer, guard: Guard, control: str, kept: float
) -> None:
    issuer.control = control
    await guard.check([issuer.token(exp=NOW + 10**6)])
    token = issuer.token(exp=NOW + 10**6, iat=NOW + kept)
    issuer.now += kept - 0.01
    await guard.check([issuer.token(exp=NOW + 10**6, iat=NOW)])
    assert issuer.fetches == 1
    issuer.now += 0.01
    await guard.check([token])
    assert issuer.fetches == 2


def under(kid: str, key: keys.PrivateKey) -> keys.PrivateKey:
    return keys.parse_private_jwk({**key.to_jwk(), "kid": kid})


async def test_a_key_that_changed_under_its_kid_is_found(issuer: Issuer, guard: Guard) -> None:
    """RFC 7515 section 4.1.4 asks for no new kid with a new key, and some issuers make none."""
    issuer.keys = [under("sig", keys.generate("ES256"))]
    await guard.check([issuer.token()])
    issuer.now += 1
    old = issuer.keys[0]
    issuer.keys = [under("sig", keys.generate("ES256"))]
    await guard.check([issuer.token()])
    assert issuer.fetches == 2
    issuer.now += 1
    with pytest.raises(Rejected) as refusal:
        await guard.check([issuer.token(key=old)])
    assert refusal.value.reason is Reason.TOKEN_SIGNATURE
    assert refusal.value.detail == "by the keys of the issuer, fetched 0 s ago"


async def test_two_keys_of_one_kid_are_both_tried(issuer: Issuer, guard: Guard) -> None:
    issuer.keys = [under("sig", keys.generate("ES256")) for _ in range(2)]
    for key in issuer.keys:
        await guard.check([issuer.token(key=key)])
    assert issuer.fetches == 1


@pytest.mark.rfc(7517, "4.5")
async def test_one_kid_may_name_keys_of_several_kinds(issuer: Issuer, guard: Guard) -> None:
    """And a key that is listed twice spoils nothing."""
    issuer.keys = [under("sig", keys.generate(alg)) for alg in ("ES256", "RS256")] * 2
    for key in issuer.keys:
        await guard.check([issuer.token(key=key)])
    assert issuer.fetches == 1


async def test_forged_tokens_cost_no_more_fetches_than_unknown_kids(issuer: Issuer, guard: Guard) -> None:
    await guard.check([issuer.token()])
    issuer.now += 1
    for n in range(50):
        for forger in (under(issuer.keys[0].kid, keys.generate("ES256")), keys.generate("ES256")):
            with pytest.raises(Rejected):
                await guard.check([issuer.token(key=forger, jti=str(n))])
    assert issuer.fetches == 4
    await guard.check([issuer.token()])


async def test_a_forged_token_is_refused_while_the_issuer_is_away(issuer: Issuer, guard: Guard) -> None:
    """401, not 503: the kid is known, and the signature is wrong by its key."""
    await guard.check([issuer.token()])
    issuer.is_up = False
    issuer.now += 1
    for _ in range(9):
        assert (
            await reason_of(guard, issuer.token(key=under(issuer.keys[0].kid, keys.generate("ES256"))))
            is Reason.TOKEN_SIGNATURE
        )
    assert issuer.failures == 3


async def test_left_out_kid_is_named(issuer: Issuer, guard: Guard) -> None:
    issuer.odd = [{"kty": "RSA", "kid": "weak", "n": "AQAB", "e": "AQAB"}]
    await guard.check([issuer.token()])
    with pytest.raises(Rejected) as refusal:
        await guard.check([issuer.token(key=under("weak", keys.generate("ES256")))])
    assert refusal.value.reason is Reason.TOKEN_KEY
    assert 'left out: key 1 ("weak") of the JWK Set' in refusal.value.detail
