"""Signing keys in a PKCS #11 token (SoftHSM): made there, used there, and never seen outside."""

import asyncio
import contextlib
import json
import os
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pkcs11 import Attribute, Mechanism, exceptions
from tests import softhsm
from tests.forked_signature import sign_in_a_child
from tests.softhsm import LABEL, PIN

from affiant.errors import ConfigError, SignerError, StoreError
from affiant.jose import compact
from affiant.jose.algorithms import ASYMMETRIC
from affiant.server.keys import signing_keys
from affiant.server.keys.calendar import DAY, RETIRING_SECONDS, Calendar
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import TokenKey, Vault, signing_key_purpose
from affiant.signers import threads
from affiant.signers.pkcs11 import mechanisms
from affiant.signers.pkcs11 import token as tokens
from affiant.signers.pkcs11.token import Token
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store

MASTER, NOW = MasterKey.from_bytes(bytes(32)), 1_800_000_000


@pytest.fixture
async def token(hsm: softhsm.SoftHsm) -> AsyncIterator[Token]:
    made = Token(hsm.module, LABEL, PIN)
    yield made
    await made.erase(await made.list())
    await made.close()


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    made = MemoryStore()
    await made.open()
    yield made
    await made.close()


@pytest.mark.parametrize("alg", mechanisms.WAYS)
async def test_every_algorithm_signs_as_rfc_7518_lays_it_out(token: Token, alg: str) -> None:
    """Read by our own strict reader, and refused when a byte of it is another."""
    vault = Vault(MASTER, token)
    opened = vault.open(await vault.generate(alg, now=NOW))
    text = await compact.sign_with("at+jwt", {"iss": "x"}, opened.signer)
    unverified = compact.parse(text)
    assert (unverified.alg, unverified.kid) == (alg, opened.public.kid)
    assert compact.verify(unverified, opened.public).claims == {"iss": "x"}
    assert (
        len(unverified.signature)
        == {"P-256": 64, "P-384": 96, "P-521": 132, "Ed25519": 64, None: 384}[opened.public.crv]
    )


@pytest.mark.parametrize("alg", [alg for alg in ASYMMETRIC if alg not in mechanisms.WAYS] + ["HS256", "none"])
async def test_other_algorithms_are_refused_in_words(token: Token, alg: str) -> None:
    with pytest.raises(ConfigError, match=f"{alg} keys cannot be in a PKCS #11 token here: choose one of ES256"):
        await Vault(MASTER, token).generate(alg, now=NOW)
    assert await token.list() == set()


async def test_the_private_part_stays_inside(token: Token, hsm: softhsm.SoftHsm) -> None:
    """The token says so, no store and no repr has it, and what is stored opens for this key alone."""
    key = await Vault(MASTER, token).generate("ES256", now=NOW)
    plain = json.loads(MASTER.unseal(key.sealed, purpose=signing_key_purpose(key.kid)))
    assert (set(plain), plain["pkcs11"], plain["jwk"]["kid"]) == ({"pkcs11", "jwk"}, LABEL, key.kid)
    assert "d" not in plain["jwk"]

    def look(session: Any) -> dict[str, Any]:
        (found,) = tokens._find(session, key.kid)
        names = ("SENSITIVE", "EXTRACTABLE", "TOKEN", "PRIVATE", "SIGN", "DECRYPT", "UNWRAP", "DERIVE")
        return {name: found[getattr(Attribute, name)] for name in names}

    told = await token._run(look, 5)
    assert {name for name, value in told.items() if value} == {"SENSITIVE", "TOKEN", "PRIVATE", "SIGN"}
    assert PIN not in repr(token) + repr(Vault(MASTER, token)) + repr(Vault(MASTER, token).open(key))


async def test_a_hundred_at_once_are_signed_by_one_thread(token: Token) -> None:
    vault = Vault(MASTER, token)
    opened = vault.open(await vault.generate("ES256", now=NOW))
    texts = await asyncio.gather(*(compact.sign_with("JWT", {"n": n}, opened.signer) for n in range(100)))
    assert [compact.verify(compact.parse(text), opened.public).claims["n"] for text in texts] == list(range(100))


async def test_what_nobody_needs_is_erased(token: Token, store: Store) -> None:
    """The candidate of who came second, the key that was removed, and the one whose time is over."""
    vault = Vault(MASTER, token)
    await asyncio.gather(*(signing_keys.ensure(store, vault, now=NOW) for _ in range(4)))
    (first,) = await store.signing_keys.list()
    assert await token.list() == {first.kid}
    announced = await signing_keys.rotate(store, vault, now=NOW, delay=2, by="a test")
    with pytest.raises(ConfigError):
        await signing_keys.rotate(store, vault, now=NOW, delay=2, by="a test")
    assert await token.list() == {first.kid, announced.kid}
    follows = await signing_keys.remove(store, vault, announced.kid, now=NOW + 5, by="a test")
    assert follows is not None
    assert await token.list() == {first.kid, follows.kid}
    later = NOW + 5 + RETIRING_SECONDS
    await signing_keys.keep(store, vault, now=later, calendar=Calendar())
    assert await token.list() == {follows.kid}


async def test_an_emergency_does_not_wait_for_a_token_that_is_away(
    hsm: softhsm.SoftHsm, token: Token, store: Store
) -> None:
    """The key is gone at once; its successor comes, and the rest is erased, when the token is back."""
    vault, away = Vault(MASTER, token), Vault(MASTER, Token(hsm.module, "pulled out", PIN))
    await signing_keys.ensure(store, vault, now=NOW)
    (lost,) = await store.signing_keys.list()
    assert await signing_keys.remove(store, away, lost.kid, now=NOW + 1, by="a test") is None
    assert [key.sealed for key in await store.signing_keys.list()] == [b""]
    assert await token.list() == {lost.kid}
    await signing_keys.keep(store, vault, now=NOW + 2, calendar=Calendar())
    new, _ = await store.signing_keys.list()
    assert (new.active_at, await token.list()) == (NOW + 2, {new.kid})


async def test_old_keys_retire_in_the_store_while_new_ones_are_in_the_token(token: Token, store: Store) -> None:
    sealed, vault = Vault(MASTER), Vault(MASTER, token)
    await signing_keys.ensure(store, sealed, now=NOW)
    made = await signing_keys.rotate(store, vault, now=NOW, delay=2, by="a test")
    new, old = [vault.open(key) for key in await store.signing_keys.list()]
    assert isinstance(new.signer, TokenKey)
    assert not isinstance(old.signer, TokenKey)
    assert await token.list() == {made.kid}
    await signing_keys.check(store, vault, now=NOW + 3)
    await signing_keys.check(store, sealed, now=NOW)
    with pytest.raises(
        ConfigError, match=f"the key {made.kid} is in the PKCS #11 token {LABEL}: set AFFIANT_PKCS11_MODULE"
    ):
        await signing_keys.check(store, sealed, now=NOW + 3)
    # Back again: what is in the token is published as long as its tokens live, although nobody can sign with it.
    back = await signing_keys.rotate(store, sealed, now=NOW + DAY, delay=2, by="a test")
    await signing_keys.check(store, sealed, now=NOW + DAY + 3)
    elsewhere = sealed.open(next(key for key in await store.signing_keys.list() if key.kid == made.kid))
    assert elsewhere.public.to_jwk() == new.public.to_jwk()
    with pytest.raises(StoreError, match="set AFFIANT_PKCS11_MODULE"):
        await compact.sign_with("JWT", {}, elsewhere.signer)
    assert not isinstance(sealed.open(back).signer, TokenKey)


async def test_a_key_that_is_not_in_the_token_is_missed_at_the_start(token: Token, store: Store) -> None:
    vault = Vault(MASTER, token)
    await signing_keys.ensure(store, vault, now=NOW)
    (key,) = await store.signing_keys.list()
    await token.erase([key.kid])
    with pytest.raises(ConfigError, match=f"does not have the key {key.kid}"):
        await signing_keys.check(store, vault, now=NOW)
    with pytest.raises(StoreError, match=f"does not have the key {key.kid}"):
        await compact.sign_with("JWT", {}, vault.open(key).signer)


async def test_a_session_that_was_lost_is_begun_again(token: Token) -> None:
    """As when the device was pulled out and put back: its handles are good for nothing."""
    vault = Vault(MASTER, token)
    opened = vault.open(await vault.generate("ES256", now=NOW))
    await compact.sign_with("JWT", {}, opened.signer)
    await token._thread().run(token._session.close, seconds=5)
    compact.verify(compact.parse(await compact.sign_with("JWT", {}, opened.signer)), opened.public)
    await token._thread().run(token._library.finalize, seconds=5)
    compact.verify(compact.parse(await compact.sign_with("JWT", {}, opened.signer)), opened.public)


async def test_a_session_that_is_lost_while_a_key_is_made_leaves_one_key_of_that_name(
    token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made anew in the next session; were the first one still there, the token might sign with that."""
    lost, real = list[bytes](), mechanisms.sign

    def lose_once(private: Any, how: Any, data: bytes) -> bytes:
        if not lost:
            lost.append(data)
            token._session.close()
        return real(private, how, data)

    monkeypatch.setattr(mechanisms, "sign", lose_once)
    vault = Vault(MASTER, token)
    opened = vault.open(await vault.generate("ES256", now=NOW))
    assert lost
    assert await token._run(lambda session: len(tokens._find(session, opened.public.kid)), 5) == 1
    compact.verify(compact.parse(await compact.sign_with("JWT", {}, opened.signer)), opened.public)


async def test_a_token_that_hangs_is_a_store_that_does_not_answer(
    token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault, end = Vault(MASTER, token), threading.Event()
    opened = vault.open(await vault.generate("ES256", now=NOW))
    monkeypatch.setattr(threads, "SIGN_SECONDS", 0.2)
    stuck = asyncio.create_task(token._run(lambda _: end.wait(), 0.2))
    await asyncio.sleep(0.01)
    with pytest.raises(StoreError, match="did not answer within"):
        await compact.sign_with("JWT", {}, opened.signer)
    with pytest.raises(StoreError):
        await stuck
    with pytest.raises(StoreError, match="does not answer"):
        await compact.sign_with("JWT", {}, opened.signer)
    end.set()
    for _ in range(200):
        with contextlib.suppress(StoreError):
            compact.verify(compact.parse(await compact.sign_with("JWT", {}, opened.signer)), opened.public)
            return
        await asyncio.sleep(0.01)
    pytest.fail("it does not come back")


async def test_a_wrong_pin_is_tried_once(hsm: softhsm.SoftHsm, store: Store) -> None:
    """A token locks itself after a few: whoever asks again is told what it said, and it is not asked."""
    wrong = Token(hsm.module, LABEL, "not-the-pin")
    for _ in range(20):
        with pytest.raises(ConfigError, match=r"refuses the PIN \(PinIncorrect\): set AFFIANT_PKCS11_PIN") as told:
            await signing_keys.ensure(store, Vault(MASTER, wrong), now=NOW)
        assert "not-the-pin" not in str(told.value)
    with pytest.raises(StoreError, match="refuses the PIN"):
        await wrong.sign("k", "ES256", b"")
    right = Token(hsm.module, LABEL, PIN)
    assert await right.list() == set()
    await right.close()


@pytest.mark.parametrize(
    ("module", "label", "says"),
    [
        ("/nowhere/lib.so", LABEL, "the PKCS #11 module /nowhere/lib.so cannot be used .* set AFFIANT_PKCS11_MODULE"),
        (__file__, LABEL, "cannot be used .* set AFFIANT_PKCS11_MODULE"),
        (None, "nobody", rf"there is no PKCS #11 token nobody \(there is: .*{LABEL}.*\): set AFFIANT_PKCS11_TOKEN"),
    ],
)
async def test_what_is_set_wrong_is_said_in_one_line(
    hsm: softhsm.SoftHsm, module: str | None, label: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as told:
        await Token(Path(module) if module else hsm.module, label, PIN).list()
    assert "\n" not in str(told.value)


async def test_the_pin_comes_from_the_environment_or_a_file_of_our_own(tmp_path: Path) -> None:
    path, module = tmp_path / "pin", tmp_path / "lib.so"
    with pytest.raises(ConfigError, match="needs its PIN: set AFFIANT_PKCS11_PIN"):
        tokens.load(module, "t", None, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        tokens.load(module, "t", path, {})
    path.write_text("1234\n")
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        tokens.load(module, "t", path, {})
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert tokens.load(module, "t", path, {})._pin == "1234"
    assert tokens.load(module, "t", path, {"AFFIANT_PKCS11_PIN": "5678"})._pin == "5678"


async def test_a_child_that_was_forked_begins_a_session_of_its_own(token: Token) -> None:
    vault = Vault(MASTER, token)
    opened = vault.open(await vault.generate("ES256", now=NOW))
    parent = threading.get_ident(), os.getpid()
    text = await sign_in_a_child(opened.signer)
    assert compact.verify(compact.parse(text), opened.public).claims == {"by": "child"}
    compact.verify(compact.parse(await compact.sign_with("JWT", {}, opened.signer)), opened.public)
    assert parent == (threading.get_ident(), os.getpid())


async def test_each_signature_is_verified_before_it_leaves(token: Token) -> None:
    """A token with another key of the same name, or a faulty device, makes no access token."""
    vault = Vault(MASTER, token)
    opened, other = [vault.open(await vault.generate("ES256", now=NOW)) for _ in range(2)]
    for key in (opened, other):
        await compact.sign_with("JWT", {}, key.signer)
    good = token.handles[opened.public.kid]
    token.handles[opened.public.kid] = token.handles[other.public.kid]
    with pytest.raises(SignerError, match=f"signed with another key than {opened.public.kid}"):
        await compact.sign_with("JWT", {}, opened.signer)
    token.handles[opened.public.kid] = good
    compact.verify(compact.parse(await compact.sign_with("JWT", {}, opened.signer)), opened.public)


@pytest.mark.rfc(8017, "9.2")
@pytest.mark.parametrize("bits", ["256", "384", "512"])
async def test_rsa_is_hashed_here_where_the_token_does_not(token: Token, bits: str) -> None:
    """The token of openCryptoki token has RSA_PKCS alone. The signature is the same."""
    await token.list()
    token.mechanisms -= {getattr(Mechanism, f"SHA{bits}_RSA_PKCS")}
    vault = Vault(MASTER, token)
    opened = vault.open(await vault.generate(f"RS{bits}", now=NOW))
    compact.verify(compact.parse(await compact.sign_with("JWT", {"iss": "x"}, opened.signer)), opened.public)
    plain = await token.sign(opened.public.kid or "", f"RS{bits}", b"data")
    await token.close()
    assert await token.sign(opened.public.kid or "", f"RS{bits}", b"data") == plain


async def test_algorithm_that_the_token_does_not_have_is_refused_with_those_that_it_has(token: Token) -> None:
    await token.list()
    token.mechanisms -= {Mechanism.ECDSA, Mechanism.EDDSA, Mechanism.SHA512_RSA_PKCS_PSS}
    with pytest.raises(
        ConfigError, match="cannot make keys for ES256: choose one of RS256, RS384, RS512, PS256, PS384 "
    ):
        await token.generate("k", "ES256")
    token.mechanisms = frozenset()
    with pytest.raises(ConfigError, match="cannot make keys for ES256: it has no algorithm that affiant signs with"):
        await token.generate("k", "ES256")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (exceptions.ArgumentsBad(), "load it through p11-kit-proxy.so"),
        (exceptions.FunctionFailed(), "start its daemon"),
        (exceptions.HostMemory(), "start its daemon"),
        (exceptions.GeneralError(), "start its daemon"),
        (exceptions.TokenNotRecognised(), "set AFFIANT_PKCS11_MODULE"),
    ],
)
async def test_module_that_does_not_start_is_refused_with_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    def fail(_: str) -> None:
        raise error

    monkeypatch.setattr("pkcs11.lib", fail)
    with pytest.raises(ConfigError, match=rf"cannot be used \({type(error).__name__}\): .*{says}"):
        await Token(tmp_path / "lib.so", LABEL, PIN).list()
