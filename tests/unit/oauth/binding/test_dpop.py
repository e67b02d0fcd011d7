"""DPoP as a rule: URLs, nonces, the memory of used proofs, and that nothing but Rejected ever comes out."""

import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose import base64url, compact, keys
from affiant.oauth.binding import dpop
from affiant.oauth.binding.dpop import DpopProof, Nonces, ProofKey, Replays

NOW, URL = 1_800_000_000, "https://api.example/orders"
KEY = keys.generate("ES256")
PROOF_KEY = ProofKey.of(KEY)
SEGMENT = st.text("aZ09-._~!$&'()*+,;=:@", max_size=5) | st.sampled_from(["..", ".", "%2e", "%2E%2e", "%7e", "%2f", ""])
PATH = st.lists(SEGMENT, max_size=6).map(lambda parts: "".join(f"/{part}" for part in parts))
AUTHORITY = st.sampled_from(["api.example", "API.Example", "api.example:443", "api.example:8443", "[::1]:1", "[::1]"])
URLS = st.builds("{}://{}{}".format, st.sampled_from(["https", "HTTPS", "http"]), AUTHORITY, PATH)


@pytest.mark.rfc(3986, "6.2")
@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://api.example", "https://api.example/"),
        ("HTTPS://Api.Example:443/A", "https://api.example/A"),
        ("http://api.example:80/", "http://api.example/"),
        ("http://api.example:443/", "http://api.example:443/"),
        ("https://api.example:/", "https://api.example/"),
        ("https://api.example:00443/", "https://api.example/"),
        ("https://api.example/a?b=/../c", "https://api.example/a"),
        ("https://api.example/a#b", "https://api.example/a"),
        ("https://api.example?x", "https://api.example/"),
        ("https://api.example/%7euser/%2fb%c3%a9", "https://api.example/~user/%2Fb%C3%A9"),
        ("https://api.example/a/./b/../../c/", "https://api.example/c/"),
        ("https://api.example/a/%2e%2E/b", "https://api.example/b"),
        ("https://api.example/../../a/..", "https://api.example/"),
        ("https://api.example/a//b", "https://api.example/a//b"),
        ("https://[::1]:8443/a", "https://[::1]:8443/a"),
        ("https://%61pi.example/", "https://api.example/"),
    ],
)
def test_normalise(url: str, normal: str) -> None:
    assert dpop.normalise(url) == normal


@pytest.mark.parametrize(
    "url",
    ["", "/a", "api.example", "ftp://a", "https://", "https:///a", "https://u@a/", "https://a b/", "https://a/b c", "https://a:b/",
     "https://a/\u00e9", "https://a\n/", "https://a/b\n", "https://[::1", "https://a:123456/", "https://a\\b/", "//a/b"],
)  # fmt: skip
def test_normalise_refuses(url: str) -> None:
    with pytest.raises(ValueError, match="not an http"):
        dpop.normalise(url)


@given(URLS)
def test_normalising_twice_changes_nothing(url: str) -> None:
    normal = dpop.normalise(url)
    assert dpop.normalise(normal) == normal
    assert "/../" not in normal
    assert "/./" not in normal


@given(URLS, st.text("abc/?", max_size=5), st.text("abc/?", max_size=5))
def test_query_and_fragment_are_no_part(url: str, query: str, fragment: str) -> None:
    assert dpop.normalise(f"{url}?{query}#{fragment}") == dpop.normalise(url)


@given(URLS, st.sampled_from(["GET", "POST", "x"]))
def test_what_is_built_verifies(url: str, method: str) -> None:
    made = dpop.build(PROOF_KEY, method=method, url=f"{url}?q", now=NOW, access_token="t").encode()
    proof = dpop.verify([made], method=method, urls=(url,), now=NOW, access_token="t")
    assert (proof.jkt, proof.live_until) == (KEY.public().thumbprint, NOW + dpop.MAX_AGE)


@pytest.mark.parametrize(
    ("url", "htu"),
    [
        ("https://api.example", "https://api.example/"),
        ("https://api.example?a=/b", "https://api.example/"),
        ("https://api.example/%7ea/../b#c", "https://api.example/%7ea/../b"),
        ("https://user:secret@api.example/a@b", "https://api.example/a@b"),
    ],
)
def test_htu_is_not_normalised(url: str, htu: str) -> None:
    assert compact.parse(dpop.build(PROOF_KEY, method="GET", url=url, now=NOW)).claims["htu"] == htu


MEMBER = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.text(max_size=3))


@given(st.lists(st.binary(max_size=60), max_size=3))
def test_verify_reads_any_bytes(values: list[bytes]) -> None:
    with pytest.raises(Rejected):
        dpop.verify(values, method="GET", urls=(URL,), now=NOW)


@pytest.mark.parametrize("iat", [10**400, -(10**400), 2**64])
def test_huge_numbers_are_refused(iat: int) -> None:
    parts = ({"typ": "dpop+jwt", "alg": "ES256", "jwk": {**PROOF_KEY.jwk, "n": iat}}, {"jti": "1", "iat": iat})
    text = ".".join(base64url.encode(json.dumps(part).encode()) for part in parts)
    with pytest.raises(Rejected):
        dpop.verify(
            [f"{text}.{base64url.encode(KEY.sign(text.encode()))}".encode()], method="GET", urls=(URL,), now=NOW
        )


def test_ml_dsa_fits_into_a_proof() -> None:
    """The largest key of all comes along."""
    key = keys.generate("ML-DSA-87")
    made = dpop.build(ProofKey.of(key), method="GET", url=URL, now=NOW, nonce="n" * 40, access_token="t").encode()
    assert len(made) <= dpop.MAX_CHARACTERS
    assert dpop.verify([made], method="GET", urls=(URL,), now=NOW).jkt == key.public().thumbprint


def test_proof_key_shows_no_secret() -> None:
    assert compact.parse(dpop.build(PROOF_KEY, method="GET", url=URL, now=NOW)).header["jwk"] == PROOF_KEY.jwk
    assert KEY.to_jwk()["d"] not in repr(PROOF_KEY) + json.dumps(PROOF_KEY.jwk)


@given(st.integers(0, 10**10), st.integers(0, 3000))
def test_nonce_is_taken_for_two_windows(now: int, later: int) -> None:
    """For as long as it is given out, and as long again, by every node with the key."""
    nonce, windows = Nonces(bytes(16)).current(now), (now + later) // 300 - now // 300
    try:
        until = Nonces(bytes(16)).verify(nonce, now + later)
    except Rejected as refusal:
        assert (refusal.reason, windows > 1) == (Reason.DPOP_NONCE, True)
    else:
        assert windows <= 1
        assert now + later < until <= now + 600


@given(MEMBER)
def test_nonce_of_others_is_refused(nonce: object) -> None:
    with pytest.raises(Rejected) as refusal:
        Nonces(bytes(16)).verify(nonce, NOW)
    assert refusal.value.reason is Reason.DPOP_NONCE
    with pytest.raises(Rejected):
        Nonces(bytes(16)).verify(Nonces(b"another key, 16+").current(NOW), NOW)


def test_nonces_need_a_key() -> None:
    with pytest.raises(ConfigError):
        Nonces(b"short")


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 20), st.integers(0, 5)), max_size=60))
def test_full_memory_never_lets_a_used_proof_through(steps: list[tuple[int, int, int]]) -> None:
    """However small it is: what passed once does not pass again while it could be shown."""
    replays, now, passed = Replays(most=3), 0, set()
    for name, life, passing in steps:
        now += passing
        proof = DpopProof("k", bytes([name]), float(name + life % 2))  # a proof's end follows from its iat
        if proof.live_until < now:
            continue
        try:
            replays.claim(proof, now)
        except Rejected as refusal:
            assert refusal.reason is Reason.DPOP_REPLAYED
            continue
        assert (name, proof.live_until) not in passed
        passed.add((name, proof.live_until))
    assert len(replays._used) == len(replays._ends) <= 3


def test_memory_lets_go() -> None:
    replays = Replays()
    for number in range(1000):
        replays.claim(DpopProof("k", number.to_bytes(4, "big"), number + 60.0), number)
    assert len(replays._used) == len(replays._ends) <= 62


def test_one_of_many_threads_is_first() -> None:
    replays, passed, start = Replays(), [], threading.Barrier(8)

    def claim() -> None:
        start.wait()
        for number in range(200):
            try:
                replays.claim(DpopProof("k", bytes([number]), NOW), 0)
            except Rejected:
                continue
            passed.append(number)

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(passed) == list(range(200))
