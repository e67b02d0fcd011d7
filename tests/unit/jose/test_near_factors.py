"""The search for RSA moduli whose two primes are too near each other (CVE-2022-26320)."""

from math import isqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rsa_keys import rsa_2048

from affiant.jose import weak
from affiant.jose.weak import has_near_factors

ROUNDS = 100  # CA/Browser Forum Baseline Requirements 6.1.1.3


def rounds_to_factor(n: int) -> int:
    """The round in which Fermat's method, as it is written, factors this odd number; one too many for none of them."""
    root = isqrt(n)
    for number, a in enumerate(range(root, root + ROUNDS + 1)):
        rest = a * a - n
        if rest >= 0 and isqrt(rest) ** 2 == rest:
            return number
    return ROUNDS + 1


@given(st.integers(2**8, 2**70).map(lambda half: 2 * half + 1), st.integers(0, 2**38).map(lambda half: 2 * half))
def test_as_fermats_method_as_it_is_written(factor: int, distance: int) -> None:
    n = factor * (factor + distance)
    assert has_near_factors(n) is (rounds_to_factor(n) <= ROUNDS)


@given(st.integers(2**20, 2**140).map(lambda half: 2 * half + 1))
def test_any_odd_number(n: int) -> None:
    assert has_near_factors(n) is (rounds_to_factor(n) <= ROUNDS)


@pytest.mark.parametrize("bits", [1024, 2048, 4096])
def test_every_round_finds_what_it_must(bits: int) -> None:
    """N = m² - d² is found in round m - isqrt(n): the last one counts, and the one after it does not."""
    random, found = Random(bits), set()
    for number in range(1, ROUNDS + 2):
        middle = random.getrandbits(bits) | 1 << bits - 1
        # The number of the round is near d² / 2m; an odd n needs one odd and one even number.
        distance = isqrt(2 * middle * number - middle)
        distance += (middle + distance + 1) % 2
        n = middle * middle - distance * distance
        assert has_near_factors(n) is (number <= ROUNDS), number
        found.add(rounds_to_factor(n))
    assert found == set(range(1, ROUNDS + 2))


def test_an_ordinary_key_costs_few_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remainders decide; each root of such a number would take as long as all of them."""
    roots: list[int] = []

    def counted(n: int) -> int:
        roots.append(n)
        return isqrt(n)

    monkeypatch.setattr(weak, "isqrt", counted)
    assert not has_near_factors(rsa_2048().public_key().public_numbers().n)
    assert len(roots) < ROUNDS / 5  # 1.8 on average
