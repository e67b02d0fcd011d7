"""One spelling for each value (RFC 7515 section 2, RFC 4648 section 3.5)."""

from base64 import urlsafe_b64encode
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affiant.jose import base64url

LETTERS = ascii_letters + digits + "-_"


@given(st.binary())
def test_round_trip(data: bytes) -> None:
    text = base64url.encode(data)
    assert text == urlsafe_b64encode(data).rstrip(b"=").decode()
    assert base64url.decode(text) == data


@given(st.text(LETTERS))
def test_value_has_only_one_encoding(text: str) -> None:
    try:
        data = base64url.decode(text)
    except ValueError:
        return
    assert base64url.encode(data) == text


@pytest.mark.parametrize("head", ["", "AAAA", "__-_"])
def test_unused_bits_are_zero(head: str) -> None:
    """Of two characters that end a text four bits are unused, of three two."""
    good = [letter for letter in LETTERS if _reads(head + "A" + letter)]
    assert len(good) == 4
    good = [letter for letter in LETTERS if _reads(head + "AA" + letter)]
    assert len(good) == 16
    assert not any(_reads(head + letter) for letter in LETTERS)


@pytest.mark.parametrize("text", ["QQ==", "QUI=", "QU J", "QU\nJ", "+/+/", "QUJ\u0660", "QUJD."])
def test_foreign_characters(text: str) -> None:
    assert not _reads(text)


def _reads(text: str) -> bool:
    try:
        base64url.decode(text)
    except ValueError:
        return False
    return True
