"""Find weak keys by their public part alone. They are rejected at registration.

The checks on RSA are those that public certification authorities owe (CA/Browser Forum Baseline Requirements 6.1.1.3
and 6.1.6). Very large moduli are rejected as well. Attack: they make each verification expensive.
"""

from __future__ import annotations

from functools import cache
from math import gcd, isqrt, prod

from affiant.errors import ConfigError

MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
MIN_RSA_EXPONENT = 65537  # the minimum of FIPS 186-5 section 5.4
MAX_RSA_EXPONENT_BITS = 64  # the limit of OpenSSL for a modulus of more than 3072 bits
_SMALL_FACTOR = 752  # Baseline Requirements 6.1.6: no prime factor below this
_FERMAT_ROUNDS = 100  # Baseline Requirements 6.1.1.3
_SQUARES_MODULO = (64 * 63, 65 * 11)  # 1 number in 119 is a square modulo both
_ROCA_PRIMES_UP_TO = 701  # the first 126 primes, which divide M for every modulus of 1984 bits and more

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


def check_rsa(n: int, e: int) -> None:
    """Reject a modulus or exponent that is too small, too large, or known to be factored easily."""
    if not MIN_RSA_BITS <= n.bit_length() <= MAX_RSA_BITS:
        raise ConfigError(f"an RSA key must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, this has {n.bit_length()}")
    if e < MIN_RSA_EXPONENT or e % 2 == 0 or e.bit_length() > MAX_RSA_EXPONENT_BITS:
        raise ConfigError("an RSA key must have an odd public exponent of at least 65537 and at most 64 bits")
    if gcd(n, _product_of_small_primes()) != 1:
        raise ConfigError("the RSA modulus has a small factor: it is damaged, or no RSA key at all")
    if has_near_factors(n):
        raise ConfigError("the RSA modulus is a product of two primes too near each other: make a new key")
    if has_roca_fingerprint(n):
        raise ConfigError(
            "the RSA key was made by a library whose keys can be factored (CVE-2017-15361): make a new key"
        )


def has_near_factors(n: int) -> bool:
    """Whether a hundred rounds of Fermat's method factor this odd number, as they do for CVE-2022-26320."""
    root = isqrt(n)
    if root * root == n:
        return True
    # Remainders show for most rounds that they find no square: a root of so many bits takes microseconds.
    one, other = _SQUARES_MODULO
    may_be, may_be_too = _squares_modulo(one), _squares_modulo(other)
    small_root, small_n = root % (one * other), n % (one * other)
    for step in range(1, _FERMAT_ROUNDS + 1):
        small_rest = (small_root + step) ** 2 - small_n
        if may_be[small_rest % one] and may_be_too[small_rest % other]:
            rest = (root + step) ** 2 - n
            if isqrt(rest) ** 2 == rest:
                return True
    return False


def has_roca_fingerprint(n: int) -> bool:
    """Whether this modulus, of 1984 bits or more, has the fingerprint of CVE-2017-15361 (ROCA).

    The primes of that library are k·M + (65537^a mod M), with M the product of the first primes. So n is a power of
    65537 modulo each of those primes, which by chance happens to one modulus in 2^167. Nemec, Sys, Svenda, Klinec and
    Matyas: "The Return of Coppersmith's Attack", CCS 2017, sections 2.1 and 2.2.
    """
    return all(powers >> n % prime & 1 for prime, powers in _powers_of_65537())


def check_ed25519(raw: bytes) -> None:
    """Reject bytes that are no point (RFC 8032 section 5.1.3), and points of small order: anyone can sign for them."""
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    # x² = (y² - 1) / (d·y² + 1) must be a square, so the product of both must; d·y² + 1 is never 0.
    square = (y * y - 1) * (_D * y * y + 1) % _P
    if len(raw) != 32 or y >= _P or pow(square, (_P - 1) // 2, _P) not in (0, 1):  # noqa: PLR2004
        raise ConfigError("x is not the encoding of a point on Ed25519")
    # Orders 1 and 2 have y = ±1, order 4 has y = 0. Of order 8 is what doubles to y = 0: there x² is -y².
    if y in (0, 1, _P - 1) or (_D * y**4 + 2 * y * y - 1) % _P == 0:
        raise ConfigError("x is a point of small order: anybody could sign for it")


@cache
def _primes(up_to: int) -> tuple[int, ...]:
    return tuple(n for n in range(2, up_to + 1) if all(n % d for d in range(2, isqrt(n) + 1)))


@cache
def _product_of_small_primes() -> int:
    return prod(_primes(_SMALL_FACTOR))


@cache
def _squares_modulo(modulus: int) -> bytes:
    """Whether each remainder is one of a square."""
    squares = {root * root % modulus for root in range(modulus)}
    return bytes(remainder in squares for remainder in range(modulus))


@cache
def _powers_of_65537() -> tuple[tuple[int, int], ...]:
    """Each prime with the powers of 65537 modulo it, as the bits of a number."""
    marks = []
    for prime in _primes(_ROCA_PRIMES_UP_TO):
        powers, power = 0, 1
        while not powers >> power & 1:
            powers |= 1 << power
            power = power * 65537 % prime
        marks.append((prime, powers))
    return tuple(marks)
