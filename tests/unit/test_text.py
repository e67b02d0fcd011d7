from affiant.system.text import instant, printable


def test_printable_escapes_what_a_terminal_obeys() -> None:
    assert printable("a\x1b[2J\x9b\u202eé") == "a\\u001b[2J\\u009b\\u202eé"


def test_printable_cuts_and_takes_only_text() -> None:
    assert printable("ab\x00c", 4) == "ab\\u"
    assert printable(None) == printable(7) == ""


def test_instant_is_utc_to_the_second() -> None:
    assert instant(1_000_000_000.9) == "2001-09-09 01:46:40 UTC"
    assert instant(1e30) == instant(float("nan")) == "at an impossible time"
