"""Certificates: when they are valid, and what is shown of them."""

import pytest
from tests.certificates import NOW, make

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth.binding import mtls

PARSED = mtls.parse(make().der)


@pytest.mark.parametrize(
    ("at", "is_valid"), [(NOW - 3600, True), (NOW + 86_400, True), (NOW - 3601, False), (NOW + 86_401, False)]
)
def test_time_is_ours(at: float, is_valid: bool) -> None:
    try:
        mtls.check_time(PARSED, at)
    except Rejected as refusal:
        assert (refusal.reason, is_valid) == (Reason.CERTIFICATE_TIME, False)
    else:
        assert is_valid


def test_repr_shows_no_bytes() -> None:
    assert "der" not in repr(PARSED)


@pytest.mark.rfc(5280, "4.1.2.2")
def test_serial_number_that_is_not_positive_is_handled() -> None:
    made = next(one for one in iter(make, None) if one.certificate.serial_number.bit_length() > 152)
    serial = made.certificate.serial_number.to_bytes(20, "big")
    changed = made.der.replace(serial, bytes([serial[0] | 0x80]) + serial[1:], 1)
    assert mtls.parse(changed).content.serial_number < 0
