"""The signature of an access token, verified by the keys of its own issuer."""

import pytest

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.jose.key_set import KeySet
from affiant.oauth import resource_request

KEY, OTHER = keys.generate("Ed25519"), keys.generate("Ed25519")
KEYS = KeySet((KEY.public(),))


def test_signature_by_an_own_key_verifies() -> None:
    verified = resource_request.verify_signature(compact.sign({}, {"jti": "1"}, KEY), KEYS)
    assert (verified.claims, verified.key) == ({"jti": "1"}, KEY.public())


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("x", Reason.TOKEN_MALFORMED),
        (compact.sign({}, {}, OTHER), Reason.TOKEN_KEY),
        (compact.sign({}, {}, keys.SecretKey(bytes(32))), Reason.TOKEN_KEY),
        (compact.sign({}, {}, keys.SecretKey(bytes(32), kid=KEY.kid)), Reason.TOKEN_SIGNATURE),
        (compact.sign({}, {"jti": "1"}, KEY)[:-8] + "AAAAAAAA", Reason.TOKEN_SIGNATURE),
    ],
    ids=["no JWS", "another kid", "no kid", "another algorithm", "another signature"],
)
def test_other_tokens_have_their_reason(token: str, reason: Reason) -> None:
    with pytest.raises(Rejected) as refusal:
        resource_request.verify_signature(token, KEYS)
    assert refusal.value.reason is reason
