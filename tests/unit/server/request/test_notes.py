"""What of a request may be written down."""

import pytest

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.server.request.notes import MAX_SHOWN, Request, without_credentials

SECRET = "aB3_" * 11
TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJjMSJ9.c2ln"


@pytest.mark.parametrize("before", ["", "client ", "x " * 120])
@pytest.mark.parametrize("credential", [SECRET, TOKEN, SECRET * 9])
def test_what_looks_like_a_credential_is_hinted_at(before: str, credential: str) -> None:
    """However near the cut it begins."""
    written = without_credentials(before + credential)
    assert written is not None
    assert len(written) <= MAX_SHOWN
    assert credential[:9] not in written
    assert written.startswith(f"{before}{credential[:8]}..."[:MAX_SHOWN])


@pytest.mark.parametrize("text", ["billing", "orders.read orders.write", "https://api.example/v1", "x" * 39])
def test_names_stand_as_they_came(text: str) -> None:
    assert without_credentials(text) == text


def test_an_unknown_kid_is_shown() -> None:
    """It often is a thumbprint, which looks like a secret; a token is left out there too."""
    visit = Request("token", "127.0.0.1", 0.0)
    kid = "a" * 43
    assert visit.record(Rejected(Reason.KEY_UNKNOWN, got=kid)).got == kid
    assert visit.record(Rejected(Reason.CLIENT_ID, got=kid)).got == "aaaaaaaa...(43 characters)"
    assert (
        TOKEN
        not in visit.record(Rejected(Reason.KEY_UNKNOWN, got=TOKEN, expected=TOKEN, detail=TOKEN)).to_json().decode()
    )
