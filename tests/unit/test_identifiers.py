"""Names of requests and of tokens."""

import os
import re

from affiant.system import identifiers


def test_shape() -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9]{12}", identifiers.new_trace_id()) for _ in range(500))
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", identifiers.new_token_id())


def test_never_twice() -> None:
    """Across the end of what is read at once, too."""
    names = [identifiers.new_token_id() for _ in range(2000)] + [identifiers.new_trace_id() for _ in range(2000)]
    assert len(set(names)) == len(names)


def test_a_forked_process_has_names_of_its_own() -> None:
    """Without the hook at fork both would go on in the same bytes."""
    identifiers.new_token_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, "".join(identifiers.new_token_id() for _ in range(20)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 4096).decode()
    os.close(reading)
    os.close(writing)
    assert len(theirs) == 440
    mine = [identifiers.new_token_id() for _ in range(20)]
    assert not any(name in theirs for name in mine)
