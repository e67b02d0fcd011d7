"""T2: which client, and which one way to authenticate."""

import base64
from collections.abc import Callable
from dataclasses import replace
from secrets import token_urlsafe
from typing import Any

import pytest
from tests.attacks.bench import STRANGER, TYPE, Bench, assertion, basic, form, post, raw, row
from tests.wire import Request

from affiant.errors.reasons import Reason
from affiant.jose import keys
from affiant.jose.keys import SecretKey
from affiant.storage.records import StoredSecret
from affiant.testing import ISSUER, KEY, NOW

OLD_SECRET = "old-secret-of-a-client-that-signs-since-long"
GRANT = {"grant_type": "client_credentials"}
OTHER_TYPES = (TYPE.replace("jwt", "saml2"), "urn:ietf:params:oauth:grant-type:jwt-bearer")


def _header(value: str) -> tuple[bytes, bytes]:
    return b"authorization", value.encode()


def _pair(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# RFC 7521 section 4.2.1, by the design page: an assertion beside another way is invalid_client (36, 38, 43), not
# invalid_request as the catalogue says.
REFUSED = [
    row(31, "nothing", post(GRANT), Reason.NO_CREDENTIALS, None, rfc="6749 3.2.1"),
    *(
        row(31, f"{name} alone", post({**GRANT, "client_id": name}), Reason.NO_CREDENTIALS, name, rfc="6749 3.2.1")
        for name in ("c1", "client_secret_post")
    ),
    row(31, "secret alone", post({**GRANT, "client_secret": "x" * 43}), Reason.NO_CREDENTIALS, None),
    row(32, "no type", post(form(client_assertion_type="absent")), Reason.HALF_ASSERTION, None, rfc="7521 4.2"),
    row(32, "empty type", post(form(client_assertion_type="")), Reason.HALF_ASSERTION, None, rfc="7521 4.2"),
    row(
        33, "no assertion", post({**GRANT, "client_assertion_type": TYPE}), Reason.HALF_ASSERTION, None, rfc="7521 4.2"
    ),
    *(
        row(34, kind, post(form(client_assertion_type=kind)), Reason.ASSERTION_TYPE, None, rfc="7523 2.2")
        for kind in (*OTHER_TYPES, TYPE.upper(), f"URN:IETF{TYPE[8:]}", f"{TYPE} ", "bearer-jwt")
    ),
    row(
        36,
        "and secret",
        post({**form(), "client_secret": "x" * 43}),
        Reason.ASSERTION_AND_OTHER,
        None,
        rfc="7521 4.2.1",
    ),
    row(
        38,
        "and Bearer",
        post(form(), _header(f"Bearer {assertion(jti='b')}")),
        Reason.ASSERTION_AND_OTHER,
        None,
        rfc="7521 4.2.1",
    ),
    row(38, "and Basic", post(form(), basic("c1", "x" * 43)), Reason.ASSERTION_AND_OTHER, None, rfc="7521 4.2.1"),
    row(
        39,
        "the guide",
        post({**GRANT, "assertion": assertion(sub="unique_request"), "client_id": "c1", "client_secret": "y" * 43}),
        Reason.MISPLACED_ASSERTION,
        "c1",
    ),
    row(39, "both places", post({**form(), "assertion": assertion()}), Reason.MISPLACED_ASSERTION, None),
    row(47, "another client_id", post(form(client_id="c2")), Reason.CLIENT_ID, "c2", rfc="7521 4.2"),
    *(
        row(49, name, post(form(client_id=name)), Reason.CLIENT_ID, name, rfc="7521 4.2")
        for name in ("nobody", "C1", "c1 ")
    ),
    *(
        row(51, text, post(GRANT, _header(text)), Reason.BASIC_MALFORMED, None, rfc="6749 5.2")
        for text in ("Basic %%%", "Basic", "Digest x", *(f"Basic {_pair(pair)}" for pair in ("c1", ":", "c1:")))
    ),
    row(51, "trailing junk", post(GRANT, _header(f"Basic {_pair('c1:x')} junk")), Reason.BASIC_MALFORMED, None),
    row(51, "two spaces", post(GRANT, _header(f"Basic  {_pair('c1:x')}")), Reason.BASIC_MALFORMED, None),
    row(
        51,
        "secret with a colon",
        post(GRANT, _header(f"Basic {_pair('c1:a:b')}")),
        Reason.CLIENT_METHOD,
        "c1",
        rfc="6749 2.3.1",
    ),
    row(51, "two headers", post(GRANT, basic("c1", "x"), basic("c2", "x")), Reason.MULTIPLE_METHODS, None),
]


@pytest.mark.parametrize(("what", "reason", "claimed"), REFUSED)
async def test_refused(bench: Bench, what: Request, reason: Reason, claimed: str | None) -> None:
    reply = await bench.refused(what, reason, claimed=claimed)
    if reason is Reason.MISPLACED_ASSERTION:  # 39: what to do is said in full
        for word in ("client_assertion", TYPE, "without client_secret"):
            assert word in reply.json()["error_description"]


def _mac(secret: str, **claims: str) -> str:
    return assertion(SecretKey(secret.encode()), jti=token_urlsafe(8), **claims)


WITH_SECRET: dict[str, tuple[str, Callable[[str], Request]]] = {
    "basic": ("client_secret_basic", lambda secret: post(GRANT, basic("client_secret_basic", secret))),
    "post": (
        "client_secret_post",
        lambda secret: post({**GRANT, "client_id": "client_secret_post", "client_secret": secret}),
    ),
    "jwt": (
        "client_secret_jwt",
        lambda secret: post(form(_mac(secret, iss="client_secret_jwt", sub="client_secret_jwt"))),
    ),
}


@pytest.mark.rfc(7521, "4.2")
async def test_client_id_of_assertion(bench: Bench) -> None:
    await bench.issued(post(form(client_id="c1")))


@pytest.mark.rfc(7523, "3(9)")
async def test_bad_mac(bench: Bench) -> None:
    name = "client_secret_jwt"
    text = bench.assertion(name)
    for bad in (bench.assertion(name, key=SecretKey(b"x" * 43)), text[:-2]):
        reply = await bench.send(post(form(bad)))
        assert (reply.status, reply.json()["error"]) == (401, "invalid_client")
    await bench.good(post(form(text)))


@pytest.mark.rfc(7523, "3(9)")
async def test_key_of_another_client(bench: Bench) -> None:
    await bench.denied(post(form(bench.assertion("c2", key=KEY))), Reason.KEY_UNKNOWN)


@pytest.mark.attack(51)
@pytest.mark.rfc(6749, "2.3.1")
@pytest.mark.rfc(9110, "11.1")
@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "bAsIc"])
async def test_scheme_in_any_case(bench: Bench, scheme: str) -> None:
    pair = _pair(f"client_secret_basic:{bench.secrets['client_secret_basic']}")
    await bench.issued(post(GRANT, _header(f"{scheme} {pair}")), client_id="client_secret_basic", jti=None)


@pytest.mark.rfc(6749, "2.3")
@pytest.mark.parametrize("value", ["Bearer old.access.token", "bearer x", "DPoP x", "Bearer"])
async def test_old_bearer_token_is_ignored(bench: Bench, value: str) -> None:
    """PyIceberg sends both when it asks again. A token authenticates no client, so there is one method, not two."""
    members = {**GRANT, "client_id": "client_secret_post", "client_secret": bench.secrets["client_secret_post"]}
    await bench.issued(post(members, _header(value)), client_id="client_secret_post", jti=None)
    wrong = {**members, "client_secret": "x" * 43}
    await bench.refused(post(wrong, _header(value)), Reason.SECRET, claimed="client_secret_post", jti=None)


@pytest.mark.attack(38)
async def test_bearer_token_with_the_guides_assertion(bench: Bench) -> None:
    """RFC 7521 section 4.2.1: beside any assertion, in whichever parameter, it may be a second one."""
    text = assertion(bench.signers["guide"], iss="guide", sub="label")
    members = {**GRANT, "assertion": text, "client_id": "guide", "client_secret": bench.secrets["guide"]}
    await bench.refused(post(members, _header(f"Bearer {text}")), Reason.MULTIPLE_METHODS, claimed="guide", jti=None)


@pytest.mark.rfc(6749, "2.3")
@pytest.mark.parametrize(
    ("headers", "got"),
    [
        (("Basic YTpi",), "Authorization: Basic and client_secret"),
        (("Digest x",), "Authorization: Digest and client_secret"),
        (("s3cr3t",), "Authorization: another scheme and client_secret"),
        (("Bearer x", "Bearer x"), "Authorization: Bearer and Authorization: Bearer and client_secret"),
        (("Bearer x", "Basic YTpi"), "Authorization: Bearer and Authorization: Basic and client_secret"),
    ],
)
async def test_mixed_methods_are_named(bench: Bench, headers: tuple[str, ...], got: str) -> None:
    """By name, and nothing of what it said."""
    members = {**GRANT, "client_id": "client_secret_post", "client_secret": bench.secrets["client_secret_post"]}
    what = post(members, *map(_header, headers))
    reply = await bench.refused(what, Reason.MULTIPLE_METHODS, claimed="client_secret_post", jti=None)
    record = await bench.store.audit_log.find(reply.json()["trace_id"])
    assert record is not None
    assert record["got"] == got


@pytest.mark.attack(38)
async def test_token_is_no_client_authentication(bench: Bench) -> None:
    """Alone, or with a name only, it lets nobody in."""
    await bench.refused(post(GRANT, _header("Bearer x")), Reason.BASIC_MALFORMED, jti=None)
    named = {**GRANT, "client_id": "client_secret_post"}
    await bench.refused(
        post(named, _header("Bearer x")), Reason.BASIC_MALFORMED, claimed="client_secret_post", jti=None
    )
    secret = {**GRANT, "client_secret": "x" * 43}
    await bench.refused(post(secret, _header("Bearer x")), Reason.MULTIPLE_METHODS, jti=None)


@pytest.mark.attack(43)
async def test_right_secret_and_forged_assertion(bench: Bench) -> None:
    """The good half does not carry the bad one."""
    client_id, secret = "client_secret_post", bench.secrets["client_secret_post"]
    forged = raw({"alg": "none"}, {"iss": client_id, "sub": client_id}, sign=lambda _: b"")
    members = {**form(forged), "client_id": client_id, "client_secret": secret}
    await bench.refused(post(members), Reason.ASSERTION_AND_OTHER, claimed=client_id)


@pytest.mark.attack(41)
async def test_secret_of_client_that_signs(bench: Bench) -> None:
    """A secret that is still stored opens nothing once the client is registered for its key."""
    left = StoredSecret(bench.master_key.digest(OLD_SECRET), None, NOW, None)
    await bench.change_client("c1", secrets=(left,))
    by_post = post({**GRANT, "client_id": "c1", "client_secret": OLD_SECRET})
    await bench.refused(by_post, Reason.CLIENT_METHOD)
    await bench.refused(post(GRANT, basic("c1", OLD_SECRET)), Reason.CLIENT_METHOD, jti=None)


@pytest.mark.attack(52)
@pytest.mark.parametrize(
    ("way", "reason"),
    [
        row(52, "basic", "basic", Reason.SECRET),
        row(52, "post", "post", Reason.SECRET),
        row(52, "jwt", "jwt", Reason.KEY_NONE),
    ],
)
async def test_expired_secret(bench: Bench, way: str, reason: Reason) -> None:
    client_id, make = WITH_SECRET[way]
    await bench.issued(make(bench.secrets[client_id]), client_id=client_id, jti=None)

    def expire(client: Any) -> Any:
        return replace(client, secrets=tuple(replace(secret, expires_at=NOW - 1) for secret in client.secrets))

    await bench.store.clients.update(client_id, expire)
    await bench.refused(make(bench.secrets[client_id]), reason, claimed=client_id)


@pytest.mark.attack(46)
async def test_client_made_anew(bench: Bench) -> None:
    """The key of a client that was removed opens nothing for the next one of its name, nor with the kid of that."""
    old, new = (keys.parse_private_jwk({**key.to_jwk(), "kid": "k"}) for key in (KEY, STRANGER))
    names = {"iss": "again", "sub": "again"}
    await bench.add_client("again", key=old)
    await bench.issued(post(form(assertion(old, **names, jti="a"))), client_id="again", jti="a")
    await bench.store.clients.remove("again")
    await bench.add_client("again", key=new)
    await bench.refused(post(form(assertion(old, **names, jti="b"))), Reason.SIGNATURE, claimed="again", jti=None)
    await bench.issued(post(form(assertion(new, **names, jti="b"))), client_id="again", jti="b")


@pytest.mark.attack(47)
async def test_unproved_issuer_is_not_echoed(bench: Bench) -> None:
    """G1 and the design page: no input comes back before it is proved."""
    reply = await bench.send(
        post(form(assertion(iss="canary-of-a-stranger", sub="canary-of-a-stranger"), client_id="c1"))
    )
    assert reply.json()["error_uri"] == f"{ISSUER}/errors/{Reason.CLIENT_ID.code}"
    assert b"canary" not in reply.body
