import pytest
from hypothesis import given
from hypothesis import strategies as st

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import base64url
from affiant.server.admin.lists import Cursors
from affiant.server.keys.master_key import MasterKey

CURSORS = Cursors(MasterKey.from_bytes(bytes(32)))
PLACES = st.text(st.characters(codec="utf-8"), max_size=50)


@given(place=PLACES, over=PLACES)
def test_a_place_comes_back(place: str, over: str) -> None:
    assert CURSORS.open(CURSORS.seal(place, over=over), over=over) == place


@given(place=PLACES, over=PLACES, cut=st.integers(1, 20))
def test_list_and_place_are_not_one_text(place: str, over: str, cut: int) -> None:
    """What is moved from the one to the other is another cursor."""
    sealed = CURSORS.seal(over[-cut:] + place, over=over[:-cut])
    if over:
        with pytest.raises(Rejected) as error:
            CURSORS.open(sealed, over=over)
        assert error.value.reason is Reason.ADMIN_CURSOR


def test_only_this_server_makes_them() -> None:
    other = Cursors(MasterKey.from_bytes(bytes(31) + b"\1"))
    sealed = CURSORS.seal("a", over="x")
    assert Cursors(MasterKey.from_bytes(bytes(32))).open(sealed, over="x") == "a"
    for wrong in (
        other.seal("a", over="x"),
        sealed[:-1],
        sealed + "A",
        "",
        "a",
        base64url.encode(b"a"),
        f"{sealed}=",
        "\x00é",
    ):
        with pytest.raises(Rejected) as error:
            CURSORS.open(wrong, over="x")
        assert error.value.reason is Reason.ADMIN_CURSOR


@pytest.mark.parametrize("place", range(35))
def test_each_byte_of_it_counts(place: int) -> None:
    data = bytearray(base64url.decode(CURSORS.seal("abc", over="x")))
    data[place] ^= 1
    with pytest.raises(Rejected):
        CURSORS.open(base64url.encode(bytes(data)), over="x")
