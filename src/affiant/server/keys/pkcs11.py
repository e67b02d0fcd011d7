"""Signing keys in a PKCS #11 token (a hardware security module, or SoftHSM): made there, used there, erased there.

python-pkcs11 initialises a module without locks (C_Initialize with NULL: PKCS #11 version 2.40, section 5.4), so only
one thread of a process may ever call it: that of `_thread`. Each process opens a session of its own.
"""

from __future__ import annotations

import contextlib
import os
from hashlib import sha256, sha384, sha512
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pkcs11 import MGF, Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, exceptions

from affiant.errors import ConfigError, SignerError
from affiant.jose import jwk
from affiant.jose.keys import parse_public_jwk
from affiant.server.keys.one_thread import OneThread
from affiant.system.files import read_private

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from affiant.jose.algorithms import PublicCryptoKey

PIN = "AFFIANT_PKCS11_PIN"
LABEL = "affiant"  # of every key that is ours
SIGN_SECONDS = 3.0  # less than a request may take: who waits in vain is told so
WORK_SECONDS = 60.0  # making an RSA key takes some tokens long
_RSA_BITS = 3072
_CURVES: dict[str, ec.EllipticCurve] = {
    "secp256r1": ec.SECP256R1(),
    "secp384r1": ec.SECP384R1(),
    "secp521r1": ec.SECP521R1(),
}
_EDWARDS = bytes.fromhex("06032b6570")  # the object identifier of Ed25519 (RFC 8410 section 3)
# What a token answers when it was pulled out, restarted or logged out: with a new session it may work.
_LOST = (
    exceptions.DeviceError,
    exceptions.DeviceRemoved,
    exceptions.GeneralError,
    exceptions.KeyHandleInvalid,
    exceptions.ObjectHandleInvalid,
    exceptions.SessionClosed,
    exceptions.SessionHandleInvalid,
    exceptions.TokenNotPresent,
    exceptions.UserNotLoggedIn,
)
_NO_PIN = (
    exceptions.PinExpired,
    exceptions.PinIncorrect,
    exceptions.PinInvalid,
    exceptions.PinLenRange,
    exceptions.PinLocked,
    exceptions.UserPinNotInitialized,
)
_threads: dict[tuple[int, str], OneThread] = {}
Result = TypeVar("Result")


class _How(NamedTuple):
    """How a token makes keys for an algorithm, and signs with them."""

    key_type: KeyType
    make: Mechanism
    sign: Mechanism
    curve: str = ""
    param: Any = None
    digest: Any = None


def _rsa(sign: Mechanism, param: Any = None) -> _How:
    return _How(KeyType.RSA, Mechanism.RSA_PKCS_KEY_PAIR_GEN, sign, param=param)


def _ecdsa(curve: str, digest: Any) -> _How:
    # Hashed here: every token knows plain ECDSA, not every one the hash. It answers with r and s side by side.
    return _How(KeyType.EC, Mechanism.EC_KEY_PAIR_GEN, Mechanism.ECDSA, curve, digest=digest)


_ED25519 = _How(KeyType.EC_EDWARDS, Mechanism.EC_EDWARDS_KEY_PAIR_GEN, Mechanism.EDDSA)
HOW = {
    "ES256": _ecdsa("secp256r1", sha256),
    "ES384": _ecdsa("secp384r1", sha384),
    "ES512": _ecdsa("secp521r1", sha512),
    "RS256": _rsa(Mechanism.SHA256_RSA_PKCS),
    "RS384": _rsa(Mechanism.SHA384_RSA_PKCS),
    "RS512": _rsa(Mechanism.SHA512_RSA_PKCS),
    # RFC 7518 section 3.5: MGF1 with the same hash, and a salt as long as the hash.
    "PS256": _rsa(Mechanism.SHA256_RSA_PKCS_PSS, (Mechanism.SHA256, MGF.SHA256, 32)),
    "PS384": _rsa(Mechanism.SHA384_RSA_PKCS_PSS, (Mechanism.SHA384, MGF.SHA384, 48)),
    "PS512": _rsa(Mechanism.SHA512_RSA_PKCS_PSS, (Mechanism.SHA512, MGF.SHA512, 64)),
    "Ed25519": _ED25519,
    "EdDSA": _ED25519,
}


class Token:
    """One token. Every call waits for the module's thread, and for the token no longer than it may take.

    Args:
        module: the vendor's library.
        label: the token's.
        pin: the user's; in no message, no log and no repr.
    """

    def __init__(self, module: Path, label: str, pin: str) -> None:
        self.label = label
        self._module = str(module)
        self._pin = pin
        self._refused = ""
        self._pid = 0
        self._library: Any = None
        self._session: Any = None
        self._keys: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Token({self._module!r}, {self.label!r})"

    async def generate(self, kid: str, alg: str) -> PublicCryptoKey:
        """The public part of a new key, which was seen to sign before anybody relies on it.

        Raises:
            ConfigError: the token cannot be used, or cannot make such a key.
            SignerError: it does not answer.
        """
        self.check_alg(alg)
        return await self._run(lambda session: self._make(session, kid, alg, HOW[alg]), WORK_SECONDS)

    def check_alg(self, alg: str) -> None:
        """Pass an algorithm that a key in a token can sign with.

        Raises:
            ConfigError: none can.
        """
        if alg not in HOW:
            raise ConfigError(f"{alg} keys cannot be in a PKCS #11 token here: choose one of {', '.join(HOW)}")

    async def sign(self, kid: str, alg: str, data: bytes) -> bytes:
        """The signature, as RFC 7518 section 3 lays it out.

        Raises:
            SignerError: the token does not answer, does not have the key, or cannot be used any more.
        """
        try:
            return await self._run(lambda session: self._sign(session, kid, HOW[alg], data), SIGN_SECONDS)
        except ConfigError as error:
            raise SignerError(str(error)) from error

    async def list(self) -> set[str]:
        """The names of the keys that are ours.

        Raises:
            ConfigError: the token cannot be used.
            SignerError: it does not answer.
        """
        return await self._run(lambda session: {_kid(key) for key in _find(session)}, WORK_SECONDS)

    async def erase(self, kids: Collection[str]) -> None:
        """Erase these keys, their public parts too; those that are not there are none to erase.

        Raises:
            ConfigError: the token cannot be used.
            SignerError: it does not answer.
        """
        await self._run(lambda session: self._erase(session, kids), WORK_SECONDS)

    async def close(self) -> None:
        """End the session; who calls again begins another."""
        with contextlib.suppress(SignerError):
            await self._thread().run(self._leave, seconds=SIGN_SECONDS)

    async def _run(self, work: Callable[[Any], Result], seconds: float) -> Result:
        return await self._thread().run(lambda: self._attempt(work), seconds=seconds)

    def _thread(self) -> OneThread:
        name = (os.getpid(), self._module)  # a child that was forked has none of its parent's threads
        if name not in _threads:
            _threads[name] = OneThread(f"the PKCS #11 module {self._module}")
        return _threads[name]

    def _attempt(self, work: Callable[[Any], Result]) -> Result:
        try:
            return self._retry(work)
        except exceptions.PKCS11Error as error:
            raise SignerError(f"the PKCS #11 token {self.label}: {type(error).__name__}") from error

    def _retry(self, work: Callable[[Any], Result]) -> Result:
        try:
            return work(self._enter())
        except exceptions.PKCS11Error as error:
            # What python-pkcs11 has no class for, such as CKR_CRYPTOKI_NOT_INITIALIZED, is of the class of all.
            if not isinstance(error, _LOST) and type(error) is not exceptions.PKCS11Error:
                raise
        self._renew()
        return work(self._enter())

    def _enter(self) -> Any:
        if self._pid != os.getpid():
            self._pid, self._session = os.getpid(), None
            self._renew()
        if self._session is None:
            self._session = self._log_in(self._find_token())
        return self._session

    def _renew(self) -> None:
        """Forget the session and begin anew, for the module too: its connection may be what was lost."""
        self._leave()
        if self._library is not None:
            with contextlib.suppress(exceptions.PKCS11Error):
                self._library.finalize()
            self._library = None

    def _leave(self) -> None:
        self._keys.clear()
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(exceptions.PKCS11Error):
                session.close()

    def _find_token(self) -> Any:
        try:
            self._library = pkcs11.lib(self._module)
            return self._library.get_token(token_label=self.label)
        except exceptions.NoSuchToken as error:
            labels = {slot.get_token().label for slot in self._library.get_slots(token_present=True)}
            there = ", ".join(sorted(labels - {""}))  # one that is not initialised has none
            raise ConfigError(
                f"there is no PKCS #11 token {self.label} (there is: {there or 'none'}): set AFFIANT_PKCS11_TOKEN"
            ) from error
        except exceptions.MultipleTokensReturned as error:
            raise ConfigError(f"two PKCS #11 tokens have the label {self.label}: give one of them another") from error
        except exceptions.PKCS11Error as error:
            raise ConfigError(
                f"the PKCS #11 module {self._module} cannot be used ({str(error) or type(error).__name__}): set"
                " AFFIANT_PKCS11_MODULE"
            ) from error

    def _log_in(self, token: Any) -> Any:
        if self._refused:  # a token locks itself after a few wrong PINs
            raise ConfigError(self._refused)
        try:
            return token.open(rw=True, user_pin=self._pin)
        except exceptions.UserAlreadyLoggedIn:  # by another session of this process: a login is for all of them
            return token.open(rw=True)
        except _NO_PIN as error:
            self._refused = f"the PKCS #11 token {self.label} refuses the PIN ({type(error).__name__}): set {PIN}"
            raise ConfigError(self._refused) from error

    def _make(self, session: Any, kid: str, alg: str, how: _How) -> PublicCryptoKey:
        if not {how.make, how.sign} <= session.token.slot.get_mechanisms():
            raise ConfigError(f"the PKCS #11 token {self.label} cannot make keys for {alg}")
        # What a session made that was lost before its end: of two keys of one name, either might sign.
        self._erase(session, [kid])
        public, private = _generate(session, kid, how)
        try:
            made = _read(public, how)
            # A signature in another form, or a key that can leave: better found out before any token is under it.
            proof = _signature(private, how, kid.encode())
            parse_public_jwk({**jwk.build(made), "alg": alg}).verify(alg, kid.encode(), proof)
            if private[Attribute.EXTRACTABLE] or not private[Attribute.SENSITIVE]:
                raise ConfigError(f"the PKCS #11 token {self.label} makes keys that can leave it")
        except BaseException:
            private.destroy()
            public.destroy()
            raise
        return made

    def _sign(self, session: Any, kid: str, how: _How, data: bytes) -> bytes:
        if kid not in self._keys:
            found = next(iter(_find(session, kid)), None)
            if found is None:
                raise SignerError(f"the PKCS #11 token {self.label} does not have the key {kid}")
            self._keys[kid] = found
        return _signature(self._keys[kid], how, data)

    def _erase(self, session: Any, kids: Collection[str]) -> None:
        for kid in kids:
            self._keys.pop(kid, None)
            for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
                for key in _find(session, kid, kind):
                    key.destroy()


def load(module: Path, label: str, pin_file: Path | None, environment: Mapping[str, str] = os.environ) -> Token:
    """The token with the PIN from AFFIANT_PKCS11_PIN, or from a file; nobody calls it yet.

    Raises:
        ConfigError: there is no PIN, or others may read the file.
    """
    pin = environment.get(PIN) or (_pin_from(pin_file) if pin_file is not None else "")
    if not pin:
        raise ConfigError(f"the PKCS #11 token {label} needs its PIN: set {PIN}, or AFFIANT_PKCS11_PIN_FILE")
    return Token(module, label, pin)


def _pin_from(path: Path) -> str:
    try:
        return read_private(path, what="the PIN file", variable=PIN).decode("utf-8").strip()
    except FileNotFoundError as error:
        raise ConfigError(f"the PIN file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:  # it holds the bytes, so it is not chained
        raise ConfigError(f"the PIN file {path} cannot be read: not UTF-8") from None


def _find(session: Any, kid: str | None = None, kind: ObjectClass = ObjectClass.PRIVATE_KEY) -> list[Any]:
    wanted: dict[Attribute, Any] = {Attribute.CLASS: kind, Attribute.LABEL: LABEL}
    if kid is not None:
        wanted[Attribute.ID] = kid.encode()
    return list(session.get_objects(wanted))


def _kid(key: Any) -> str:
    return bytes(key[Attribute.ID]).decode("ascii", "replace")


def _generate(session: Any, kid: str, how: _How) -> tuple[Any, Any]:
    options: dict[str, Any] = {
        "id": kid.encode(),
        "label": LABEL,
        "store": True,
        "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
        "mechanism": how.make,
        "private_template": {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
    }
    if how.key_type is KeyType.RSA:
        made: tuple[Any, Any] = session.generate_keypair(KeyType.RSA, _RSA_BITS, **options)
        return made
    params = pkcs11.util.ec.encode_named_curve_parameters(how.curve) if how.curve else _EDWARDS
    domain = session.create_domain_parameters(how.key_type, {Attribute.EC_PARAMS: params}, local=True)
    inside: tuple[Any, Any] = domain.generate_keypair(**options)
    return inside


def _read(public: Any, how: _How) -> PublicCryptoKey:
    if how.key_type is KeyType.RSA:
        exponent, modulus = (int.from_bytes(public[a], "big") for a in (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS))
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    if how.curve:
        curve = _CURVES[how.curve]
        point = _point(public[Attribute.EC_POINT], 2 * ((curve.key_size + 7) // 8) + 1)
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    return ed25519.Ed25519PublicKey.from_public_bytes(_point(public[Attribute.EC_POINT], 32))


def _point(value: bytes, size: int) -> bytes:
    """The point: the last bytes, whether the token wraps it in an OCTET STRING, as the standard says, or not."""
    if not size <= len(value) <= size + 3:
        raise ConfigError(f"the PKCS #11 token told a public key of {len(value)} bytes")
    return value[-size:]


def _signature(private: Any, how: _How, data: bytes) -> bytes:
    signed: bytes = private.sign(
        how.digest(data).digest() if how.digest else data, mechanism=how.sign, mechanism_param=how.param
    )
    return signed
