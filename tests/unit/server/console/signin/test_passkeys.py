"""Passkeys: what an authenticator may answer, and each lie that is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.server.console.signin.authenticator import UP, UV, Authenticator

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import base64url
from affiant.server.console.origins import Origins
from affiant.server.console.signin.challenges import SECONDS, SIGN_IN, Challenges
from affiant.server.console.signin.passkeys import Passkeys, credential_id
from affiant.server.keys.master_key import MasterKey
from affiant.storage.records import Passkey, User

NOW = 1_800_000_000
KEY = MasterKey.from_bytes(bytes(32))
ISSUER, HOST = "https://as.example", "as.example"
ALICE = User("alice", "owner", handle=base64url.encode(bytes(32)))
PASSKEYS = Passkeys(KEY, Origins(ISSUER))
Lie = Callable[[Authenticator], Any]
LIES: dict[str, Lie] = {
    "another origin": lambda made: setattr(made, "origin", "https://evil.example"),
    "a longer origin": lambda made: setattr(made, "origin", f"{ISSUER}.evil.example"),
    "http": lambda made: setattr(made, "origin", "http://as.example"),
    "another port": lambda made: setattr(made, "origin", f"{ISSUER}:8443"),
    "another relying party": lambda made: setattr(made, "rp_id", "evil.example"),
    "the domain above": lambda made: setattr(made, "rp_id", "example"),
    "no user verification": lambda made: setattr(made, "flags", UP),
    "no user presence": lambda made: setattr(made, "flags", UV),
}


def _register(made: Authenticator, session: str = "s", now: float = NOW) -> Passkey:
    options = PASSKEYS.registration(ALICE, session, [], now)
    return PASSKEYS.verify_new(made.create(options), ALICE, session, "laptop", now)[0]


def _refused(act: Callable[..., object], *values: object) -> str:
    with pytest.raises(Rejected) as caught:
        act(*values)
    assert caught.value.reason is Reason.CONSOLE_PASSKEY
    return caught.value.detail


@pytest.fixture
def made() -> Authenticator:
    return Authenticator(ISSUER, HOST)


def test_options(made: Authenticator) -> None:
    known = _register(made)
    options = PASSKEYS.registration(ALICE, "s", [known], NOW)
    assert (options["rp"]["id"], options["user"]["id"], options["user"]["name"]) == (HOST, ALICE.handle, "alice")
    selection = options["authenticatorSelection"]
    assert (selection["residentKey"], selection["userVerification"]) == ("required", "required")
    assert options["attestation"] == "none"
    assert [one["id"] for one in options["excludeCredentials"]] == [known.id]
    asked = PASSKEYS.sign_in(NOW)
    assert (asked["rpId"], asked["userVerification"], asked.get("allowCredentials", [])) == (HOST, "required", [])
    assert asked["challenge"] != PASSKEYS.sign_in(NOW)["challenge"]


def test_a_passkey_signs_in(made: Authenticator) -> None:
    passkey = _register(made)
    assert (passkey.username, passkey.label, passkey.sign_count) == ("alice", "laptop", 0)
    answer = made.get(PASSKEYS.sign_in(NOW), ALICE.handle)
    assert credential_id(answer) == passkey.id
    counted, used = PASSKEYS.verify(answer, passkey, ALICE, NOW + SECONDS - 1)
    assert (counted.sign_count, used.expires_at) == (1, NOW + SECONDS)
    again = PASSKEYS.verify(answer, passkey, ALICE, NOW)[1]
    assert again == used, "the store takes it once"


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_makes_no_passkey(made: Authenticator, lie: str) -> None:
    LIES[lie](made)
    assert _refused(_register, made)


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_signs_nobody_in(made: Authenticator, lie: str) -> None:
    passkey = _register(made)
    LIES[lie](made)
    answer = made.get(PASSKEYS.sign_in(NOW), ALICE.handle)
    assert _refused(PASSKEYS.verify, answer, passkey, ALICE, NOW)


def test_answers_to_other_questions(made: Authenticator) -> None:
    passkey = _register(made)
    asked, other = PASSKEYS.sign_in(NOW), Passkeys(MasterKey.from_bytes(b"\1" * 32), Origins(ISSUER))
    right = made.get(asked, ALICE.handle)
    for answer, now in (
        (right, NOW + SECONDS),
        (right, NOW - 2),  # made by a clock that ran ahead
        (made.get(other.sign_in(NOW), ALICE.handle), NOW),
        (made.get(PASSKEYS.registration(ALICE, "s", [], NOW), ALICE.handle), NOW),
        (made.get(PASSKEYS.registration(ALICE, SIGN_IN + " ", [], NOW), ALICE.handle), NOW),
        (made.get({"challenge": ""}, ALICE.handle), NOW),
        (made.get({"challenge": base64url.encode(bytes(56))}, ALICE.handle), NOW),
        (made.get({"challenge": "!"}, ALICE.handle), NOW),
        (made.get({"challenge": None}, ALICE.handle), NOW),
        (made.get(asked, None), NOW),
        (made.get(asked, base64url.encode(b"another user")), NOW),
        (Authenticator(ISSUER, HOST, id=made.id).get(asked, ALICE.handle), NOW),
    ):
        assert _refused(PASSKEYS.verify, answer, passkey, ALICE, now)
    made.type = "webauthn.create"
    assert _refused(PASSKEYS.verify, made.get(asked, ALICE.handle), passkey, ALICE, NOW)


def test_a_new_passkey_is_of_the_session_that_asked(made: Authenticator) -> None:
    options = PASSKEYS.registration(ALICE, "s", [], NOW)
    for session, now in (("other", NOW), ("s", NOW + SECONDS)):
        answer = made.create(options)
        assert _refused(PASSKEYS.verify_new, answer, ALICE, session, "x", now)
    answer = made.create(PASSKEYS.sign_in(NOW))
    assert _refused(PASSKEYS.verify_new, answer, ALICE, "s", "x", NOW)


def test_a_count_that_is_not_higher(made: Authenticator) -> None:
    passkey = _register(made)
    counted, _ = PASSKEYS.verify(made.get(PASSKEYS.sign_in(NOW), ALICE.handle), passkey, ALICE, NOW)
    made.count = 0
    answer = made.get(PASSKEYS.sign_in(NOW), ALICE.handle)
    assert _refused(PASSKEYS.verify, answer, counted, ALICE, NOW)


@pytest.mark.parametrize("place", ["id", "rawId", "type", "response", "clientExtensionResults"])
@pytest.mark.parametrize("value", [None, 1, "", "!", [], {}, "A" * 5000, {"clientDataJSON": "e30"}])
def test_broken_answers(made: Authenticator, place: str, value: object) -> None:
    passkey = _register(made)
    answer = made.get(PASSKEYS.sign_in(NOW), ALICE.handle) | {place: value}
    assert isinstance(credential_id(answer), str)
    if place == "clientExtensionResults":  # nothing is read from it
        return
    _refused(PASSKEYS.verify, answer, passkey, ALICE, NOW)
    new = made.create(PASSKEYS.registration(ALICE, "s", [], NOW)) | {place: value}
    _refused(PASSKEYS.verify_new, new, ALICE, "s", "x", NOW)


@pytest.mark.parametrize("member", ["clientDataJSON", "authenticatorData", "signature", "attestationObject"])
@pytest.mark.parametrize("value", [None, 1, "", "!", [], {}, "A" * 5000, "_____w", "gYGBgYGB", "n_8", "v_8"])
def test_broken_responses(made: Authenticator, member: str, value: object) -> None:
    passkey = _register(made)
    if member != "attestationObject":
        answer = made.get(PASSKEYS.sign_in(NOW), ALICE.handle)
        answer["response"][member] = value
        _refused(PASSKEYS.verify, answer, passkey, ALICE, NOW)
    if member in ("clientDataJSON", "attestationObject"):
        new = made.create(PASSKEYS.registration(ALICE, "s", [], NOW))
        new["response"][member] = value
        _refused(PASSKEYS.verify_new, new, ALICE, "s", "x", NOW)


def test_any_cut_of_an_attestation(made: Authenticator) -> None:
    whole = base64url.decode(made.create(PASSKEYS.registration(ALICE, "s", [], NOW))["response"]["attestationObject"])
    for length in range(len(whole)):
        new = made.create(PASSKEYS.registration(ALICE, "s", [], NOW))
        new["response"]["attestationObject"] = base64url.encode(whole[:length])
        _refused(PASSKEYS.verify_new, new, ALICE, "s", "x", NOW)


def test_where_there_is_no_name_there_is_no_passkey() -> None:
    nameless = Passkeys(KEY, Origins("https://192.0.2.1"))
    _refused(nameless.sign_in, NOW)
    _refused(nameless.registration, ALICE, "s", [], NOW)


@pytest.mark.parametrize(
    ("issuer", "host", "said"),
    [
        ("https://as.example", "as.example", None),
        ("https://as.example", "inner:8377", None),  # a proxy may send its own name
        ("https://192.0.2.1", "192.0.2.1", "AFFIANT_ISSUER"),
        ("https://[2001:db8::1]", "[2001:db8::1]", "AFFIANT_ISSUER"),
        ("http://127.0.0.1:8377", "localhost:8377", None),
        ("http://127.0.0.1:8377", "LOCALHOST:8377", None),
        ("http://127.0.0.1:8377", "127.0.0.1:8377", "open http://localhost:8377 "),
        ("http://localhost:8377", "[::1]:8377", "open http://localhost:8377 "),
        ("http://as.example", "as.example", "https"),
    ],
)
def test_what_a_page_says_where_no_passkey_is_possible(issuer: str, host: str, said: str | None) -> None:
    found = Origins(issuer).obstacle({"headers": [(b"host", host.encode())]})
    assert found is None if said is None else found is not None and said in found


def test_challenges_are_of_their_purpose_and_time() -> None:
    challenges = Challenges(KEY)
    made = challenges.make(SIGN_IN, NOW)
    assert challenges.check(made, SIGN_IN, NOW + 0.5) == challenges.check(made, SIGN_IN, NOW + SECONDS - 1)
    for place in range(len(made)):
        altered = bytes(byte ^ (number == place) for number, byte in enumerate(made))
        with pytest.raises(ValueError, match="not of this server"):
            challenges.check(altered, SIGN_IN, NOW)
    with pytest.raises(ValueError, match="another session"):
        challenges.check(made, "s", NOW)
