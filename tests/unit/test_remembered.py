"""Values in common."""

from affiant.system.remembered import Remembered


class Thing:
    pass


def test_value_is_in_common_while_it_is_in_use() -> None:
    remembered = Remembered[Thing]()
    first = remembered.get("a", Thing)
    assert remembered.get("a", Thing) is first
    assert remembered.get("b", Thing) is not first
    del first
    assert len(remembered._values) == 0


def test_key_that_cannot_be_one_has_nothing_in_common() -> None:
    remembered = Remembered[Thing]()
    assert remembered.get(["a"], Thing) is not remembered.get(["a"], Thing)
