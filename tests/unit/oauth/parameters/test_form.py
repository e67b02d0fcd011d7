"""The form: what it reads, and that it refuses the rest with a reason of its own."""

from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth.parameters import form

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
REASONS = {Reason.TOO_MANY_PARAMETERS, Reason.ENCODING, Reason.DUPLICATE_PARAMETER}


def _refused(body: bytes) -> Rejected:
    with pytest.raises(Rejected) as refusal:
        form.parse(body)
    return refusal.value


@given(st.binary())
@example(b"%")
@example(b"a=%e2%82")
@example(b"=&=")
def test_parse_never_fails_otherwise(body: bytes) -> None:
    try:
        parsed = form.parse(body)
    except Rejected as refusal:
        assert refusal.reason in REASONS
    else:
        assert all(value for values in parsed.values.values() for value in values)


@given(st.dictionaries(NAMES, NAMES, max_size=form.MAX_PARAMETERS))
def test_encoded_form_parses(values: dict[str, str]) -> None:
    parsed = form.parse(urlencode(values).encode())
    assert {name: parsed.get(name) for name in values} == values


@pytest.mark.parametrize("name", ["resource", "audience"])
def test_two_parameters_may_repeat(name: str) -> None:
    parsed = form.parse(f"{name}=a&{name}=&{name}=b".encode())
    assert parsed.all(name) == ("a", "b")
    assert parsed.get(name) == "a"


@pytest.mark.parametrize("body", [b"scope=a&scope=b", b"scope=&scope=b", b"scope&scope", b"sc%6fpe=a&scope=a"])
def test_others_may_not(body: bytes) -> None:
    refusal = _refused(body)
    assert (refusal.reason, refusal.got) == (Reason.DUPLICATE_PARAMETER, "scope")


def test_a_made_up_name_is_not_repeated() -> None:
    assert _refused(b"%3Cscript%3E=1&%3Cscript%3E=1").got == "a parameter"


def test_absent_and_empty_are_one() -> None:
    parsed = form.parse(b"a=&b")
    assert parsed.get("a") is parsed.get("b") is parsed.get("c") is None
    assert parsed.all("a") == ()


def test_only_the_ampersand_separates() -> None:
    assert form.parse(b"a=1;b=2&c=3").values == {"a": ("1;b=2",), "c": ("3",)}


def test_only_the_first_equals_sign_separates() -> None:
    assert form.parse(b"a=b=c==").get("a") == "b=c=="


@pytest.mark.parametrize(
    ("body", "value"), [(b"a=b+c", "b c"), (b"a=b%20c", "b c"), (b"a=b%2Bc", "b+c"), (b"a=%2b+", "+ ")]
)
def test_plus_is_a_space(body: bytes, value: str) -> None:
    assert form.parse(body).get("a") == value


@pytest.mark.parametrize(
    "body", [b"a=%", b"a=%4", b"a=%4g", b"%zz=1", b"a=%ff", b"a=\xff", b"a=%ed%a0%80", b"a=%c0%80"]
)
def test_broken_encoding_is_refused(body: bytes) -> None:
    assert _refused(body).reason is Reason.ENCODING


def test_the_number_of_parameters_is_limited() -> None:
    allowed = b"&".join(b"p%d=1" % number for number in range(form.MAX_PARAMETERS))
    assert len(form.parse(allowed).values) == form.MAX_PARAMETERS
    assert _refused(allowed + b"&q=1").reason is Reason.TOO_MANY_PARAMETERS


def test_values_stay_out_of_the_repr() -> None:
    assert "hidden" not in repr(form.parse(b"client_secret=hidden"))
