import pytest
from hypothesis import given
from hypothesis import strategies as st

from affiant.oauth.parameters import scope

ALPHABET = [chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"\\']
NAME = st.text(ALPHABET, min_size=1, max_size=20)


@given(st.lists(NAME, min_size=1, max_size=scope.MAX_NAMES, unique=True))
def test_rendered_scope_parses(names: list[str]) -> None:
    assert scope.parse(scope.render(names)) == tuple(names)


@given(st.text())
def test_parse_never_fails_otherwise(text: str) -> None:
    try:
        names = scope.parse(text)
    except ValueError:
        return
    assert names
    assert all(character in ALPHABET for name in names for character in name)


@given(st.lists(NAME, min_size=1, max_size=10))
def test_parse_names_each_once_in_order(names: list[str]) -> None:
    assert scope.parse(" ".join(names)) == tuple(dict.fromkeys(names))


@pytest.mark.parametrize(
    "text", ["", " ", "a ", " a", "a  b", "a\tb", "a\nb", 'a"', "a\\", "\u00e9", "\x7f", "\x00", "a\n"]
)
def test_other_text_is_no_scope(text: str) -> None:
    with pytest.raises(ValueError, match="not a scope"):
        scope.parse(text)


def test_parse_limits_number_and_length() -> None:
    many = [f"n{number}" for number in range(scope.MAX_NAMES)]
    assert len(scope.parse(" ".join(many))) == scope.MAX_NAMES
    assert scope.parse("x" * 256) == ("x" * 256,)
    for text in (" ".join([*many, "x"]), "x" * 257):
        with pytest.raises(ValueError, match="not a scope"):
            scope.parse(text)


def test_parse_keeps_case() -> None:
    assert scope.parse("Read read") == ("Read", "read")


@pytest.mark.parametrize(
    ("granted", "wanted"),
    [
        ("system/*.rs", "system/Patient.rs"),
        ("system/*.rs", "system/Patient.r"),
        ("system/*.rs", "system/*.r"),
        ("system/*.cruds", "system/Observation.us"),
        ("system/Patient.rs", "system/Patient.s"),
        ("system/*.read", "system/Patient.read"),
        ("system/*.*", "system/Patient.write"),
        ("system/*.*", "system/*.read"),
        ("system/Patient.*", "system/Patient.read"),
        ("system/*.rs", "system/Observation.rs?category=laboratory"),
        ("system/*.rs?category=laboratory", "system/Observation.r?category=laboratory"),
        ("system/O.rs?a=1", "system/O.rs?b=2&a=1"),
        ("system/O.rs", "system/O.rs?category=http://x.example/c|laboratory"),
    ],
)
def test_wildcard_covers_its_names(granted: str, wanted: str) -> None:
    """SMART App Launch 2.2: what is asked for is within what was authorized before."""
    assert scope.is_covered(wanted, [granted])
    assert scope.is_covered(wanted, ["x", granted])
    assert not scope.is_covered(granted, [wanted])


@pytest.mark.attack(152)
@pytest.mark.parametrize(
    ("granted", "wanted"),
    [
        ("*", "admin"),
        ("*", "system/Patient.rs"),
        ("system/*", "system/Patient.rs"),
        ("system/*.*", "system/Patient.rs"),  # of the two versions neither covers the other
        ("system/*.read", "system/Patient.rs"),
        ("system/*.rs", "system/Patient.read"),
        ("system/*.rs", "system/Patient.cruds"),
        ("system/*.r", "system/Patient.rs"),
        ("system/Patient.rs", "system/*.rs"),
        ("system/Patient.rs", "system/Observation.rs"),
        ("system/Pat*.rs", "system/Patient.rs"),
        ("system/**.rs", "system/Patient.rs"),
        ("user/*.rs", "user/Patient.rs"),
        ("patient/*.rs", "patient/Patient.rs"),
        ("system/*.rs", "user/Patient.rs"),
        ("orders.*", "orders.read"),
        ("orders:*", "orders:read"),
        ("system/*.rs", "system/Patient.sr"),  # the letters have one order
        ("system/*.rs", "system/Patient."),
        ("system/*.rs", "system/patient.rs"),
        ("system/*.rs", "system/Patient.rs?"),
        ("system/*.rs", "system/Patient.rs?category"),
        ("system/*.rs", "system/Patient.rs?=x"),
        ("system/*.rs", "system/Patient.rs?_include=*"),  # adds to what is found
        ("system/*.rs", "system/Patient.rs?a=1&_revinclude=x"),
        ("system/*.rs?category=lab", "system/Patient.rs"),
        ("system/*.rs?category=lab", "system/Patient.rs?category=vital"),
        ("system/*.rs?category=lab", "system/Patient.rs?category=lab,vital"),
        ("system/*.read?category=lab", "system/Patient.read"),
        ("SYSTEM/*.rs", "SYSTEM/Patient.rs"),
    ],
)
def test_nothing_else_is_a_wildcard(granted: str, wanted: str) -> None:
    """A client that registers itself with a star has the name with the star."""
    assert not scope.is_covered(wanted, [granted])
    assert scope.is_covered(granted, [granted])
    assert scope.is_covered(wanted, [wanted])


@given(st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9)), st.data())
def test_names_outside_the_grammar_cover_themselves_alone(granted: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(granted) if granted else st.just("a"))
    assert scope.is_covered(name, granted) == (name in granted)
