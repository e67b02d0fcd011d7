"""Authentication methods are values: each name has one, and an unknown client passes none."""

from urllib.parse import urlencode

import pytest
from tests.certificates import make

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.oauth import names
from affiant.oauth.binding import mtls
from affiant.oauth.parameters import form
from affiant.server.client_auth import ladder
from affiant.server.client_auth.method import Judging, Named, Sent
from affiant.server.client_auth.methods import METHODS, PLACES
from affiant.server.client_auth.stranger import STRANGER
from affiant.server.explain.hints import find_for
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.federation.keys import TrustKeys
from affiant.server.registry.federation.known import Federation
from affiant.server.registry.remote_keys import RemoteKeys
from affiant.server.request.notes import Notes

NOW = 1_800_000_000.0
CLAIMS = {"iss": "c1", "sub": "c1", "aud": "https://as.example", "exp": NOW + 60, "jti": "j"}
ASSERTION = {
    "client_assertion": compact.sign({}, CLAIMS, keys.generate("ES256")),
    "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE,
}
SECRET = {"client_id": "c1", "client_secret": "s3cret"}


def _sent(**members: str) -> Sent:
    return Sent(form.parse(urlencode(members).encode()), certificate=mtls.parse(make(dns=("c1.example",)).der))


JUDGING = Judging(NOW, Notes(), MasterKey.from_bytes(bytes(32)), RemoteKeys(), TrustKeys())


async def _named() -> list[Named]:
    shown = [ladder.find(_sent(**members)) for members in (ASSERTION, SECRET, {"client_id": "c1"})]
    return [await one.identify(Federation(""), JUDGING) for one in shown]


def test_each_name_has_one_method() -> None:
    assert sorted(PLACES) == sorted(names.AUTH_METHODS)
    assert sum(len(method.places) for method in METHODS) == len(PLACES)


async def test_a_certificate_counts_only_alone() -> None:
    assert [named.methods for named in await _named()] == [
        (names.PRIVATE_KEY_JWT, names.CLIENT_SECRET_JWT),
        (names.CLIENT_SECRET_POST,),
        names.BY_TLS,
    ]


def test_two_methods_are_refused() -> None:
    with pytest.raises(Rejected) as refused:
        ladder.find(_sent(**ASSERTION, **SECRET))
    assert (refused.value.reason, refused.value.got) == (
        Reason.ASSERTION_AND_OTHER,
        "client_assertion and client_secret",
    )


async def test_an_unknown_client_passes_no_method() -> None:
    for named in await _named():
        with pytest.raises(Rejected):
            await named.judge(STRANGER, JUDGING)


def test_a_search_for_an_unknown_client_finds_no_mistake() -> None:
    text = ASSERTION["client_assertion"]
    assert find_for(STRANGER, compact.parse(text), text, now=NOW) is None
