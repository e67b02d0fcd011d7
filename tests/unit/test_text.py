from affiant.system.text import printable


def test_printable_escapes_what_a_terminal_obeys() -> None:
    assert printable("a\x1b[2J\x9b\u202eé") == "a\\u001b[2J\\u009b\\u202eé"
