"""Values: frozen, equal by kind and fields, and silent about what is hidden."""

from typing import ClassVar

import pytest

from affiant.jose import compact
from affiant.oauth.token import TokenResponse
from affiant.server.client_auth.methods.client_assertion import Assertion, GuideAssertion
from affiant.server.client_auth.methods.client_secret import Secret
from affiant.system.values import Value

_UNVERIFIED = compact.parse("eyJhbGciOiJFUzI1NiIsIngiOiJzM2NyZXQifQ.e30.AA")


class _Plain(Value, frozen=True):
    name: str
    number: int = 0


class _Sealed(Value, frozen=True):
    HIDDEN: ClassVar[frozenset[str]] = frozenset({"secret"})

    name: str
    secret: str


def test_frozen() -> None:
    with pytest.raises(AttributeError):
        _Plain("a").name = "b"  # type: ignore[misc]


def test_equal_by_kind_and_fields() -> None:
    assert _Plain("a") == _Plain("a", 0)
    others: list[Value] = [_Sealed("a", "s"), _Plain("b")]
    assert _Plain("a") not in others


def test_what_is_hidden_is_not_shown() -> None:
    assert repr(_Plain("a")) == "_Plain(name='a', number=0)"
    assert repr(_Sealed("a", "s3cret")) == str(_Sealed("a", "s3cret")) == "_Sealed(name='a')"


@pytest.mark.parametrize(
    "value",
    [
        Secret("client_secret_post", "c", "s3cret"),
        GuideAssertion("s3cret", _UNVERIFIED, "c", "c", "s3cret"),
        Assertion("s3cret", _UNVERIFIED, "c"),
        TokenResponse("s3cret", "Bearer", 60, None, "s3cret"),
    ],
)
def test_secrets_are_hidden(value: Value) -> None:
    assert "s3cret" not in repr(value)
    assert "s3cret" not in f"{value}"
