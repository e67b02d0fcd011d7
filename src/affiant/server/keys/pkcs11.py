"""Make, use and erase signing keys in a PKCS #11 token: a hardware security module, or SoftHSM.

python-pkcs11 initialises a module without locks (C_Initialize with NULL: PKCS #11 version 2.40, section 5.4), so only
one thread of a process may ever call it: that of `_thread`. Each process opens a session of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import pkcs11
from pkcs11 import Attribute, ObjectClass, exceptions

from affiant.errors import ConfigError, SignerError
from affiant.jose import jwk
from affiant.jose.algorithms import PublicCryptoKey
from affiant.jose.keys import parse_public_jwk
from affiant.server.keys import mechanisms
from affiant.server.keys.mechanisms import LABEL
from affiant.system.files import read_private

PIN = "AFFIANT_PKCS11_PIN"
SIGN_SECONDS = 3.0  # less than the deadline of a request, so that its caller gets an answer
WORK_SECONDS = 60.0  # some tokens need long to make an RSA key
# The errors of a token that was pulled out, restarted or logged out: with a new session it may work.
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
# The errors of a module at its start when a daemon or a device is missing.
_NO_DAEMON = (
    exceptions.DeviceError,
    exceptions.FunctionFailed,
    exceptions.GeneralError,
    exceptions.HostMemory,
)
_NO_PIN = (
    exceptions.PinExpired,
    exceptions.PinIncorrect,
    exceptions.PinInvalid,
    exceptions.PinLenRange,
    exceptions.PinLocked,
    exceptions.UserPinNotInitialized,
)
Result = TypeVar("Result")


class OneThread:
    """Runs calls that may hang in their order; a caller waits for its own call no longer than it allows.

    The thread is a daemon: a call that never returns does not keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any], float]] = queue.SimpleQueue()
        self._overdue_at = float("inf")  # when the running call has taken too long
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def run(self, call: Callable[[], Result], *, seconds: float) -> Result:
        if time.monotonic() > self._overdue_at:  # behind a call that hangs, the queue would only grow
            raise SignerError(f"{self._name} does not answer")
        future: Future[Result] = Future()
        self._calls.put((future, call, seconds))
        try:
            # Not wait_for: until Python 3.12 it swallows a cancellation that comes in the moment of the result.
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise SignerError(f"{self._name} did not answer within {seconds:g} s") from None

    def _work(self) -> None:
        while True:
            future, call, seconds = self._calls.get()
            if not future.set_running_or_notify_cancel():
                continue  # its caller was cancelled
            self._overdue_at = time.monotonic() + seconds
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - for the caller
                future.set_exception(error)
            self._overdue_at = float("inf")


_threads: dict[tuple[int, str], OneThread] = {}


class Token:
    """One token. All its calls run in the thread of its module."""

    def __init__(self, module: Path, label: str, pin: str) -> None:
        self.label = label
        self._module = str(module)
        self._pin = pin
        self._refused = ""
        self._pid = 0
        self._library: Any = None
        self._session: Any = None
        self._keys: dict[str, Any] = {}
        self._mechanisms: frozenset[Any] = frozenset()

    def __repr__(self) -> str:
        return f"Token({self._module!r}, {self.label!r})"

    async def generate(self, kid: str, alg: str) -> PublicCryptoKey:
        """Make a key, and return its public part once it has signed."""
        self.check_alg(alg)
        return await self._run(lambda session: self._make(session, kid, alg), WORK_SECONDS)

    def check_alg(self, alg: str) -> None:
        """Raise ConfigError if no PKCS #11 token can sign with this algorithm here."""
        if alg not in mechanisms.WAYS:
            able = ", ".join(mechanisms.WAYS)
            raise ConfigError(f"{alg} keys cannot be in a PKCS #11 token here: choose one of {able}")

    async def sign(self, kid: str, alg: str, data: bytes) -> bytes:
        """Return the signature in the form of RFC 7518 section 3."""
        try:
            return await self._run(lambda session: self._sign(session, kid, alg, data), SIGN_SECONDS)
        except ConfigError as error:
            raise SignerError(str(error)) from error

    async def list(self) -> set[str]:
        """Return the names of our keys."""
        return await self._run(lambda session: {_kid(key) for key in _find(session)}, WORK_SECONDS)

    async def erase(self, kids: Collection[str]) -> None:
        """Erase these keys and their public parts, if they exist."""
        await self._run(lambda session: self._erase(session, kids), WORK_SECONDS)

    async def close(self) -> None:
        """End the session; the next call begins another."""
        with contextlib.suppress(SignerError):
            await self._thread().run(self._leave, seconds=SIGN_SECONDS)

    async def _run(self, work: Callable[[Any], Result], seconds: float) -> Result:
        return await self._thread().run(lambda: self._attempt(work), seconds=seconds)

    def _thread(self) -> OneThread:
        name = (os.getpid(), self._module)  # a forked child has none of its parent's threads
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
            # Errors that python-pkcs11 has no class for, such as CKR_CRYPTOKI_NOT_INITIALIZED, have the base class.
            if not isinstance(error, _LOST) and type(error) is not exceptions.PKCS11Error:
                raise
        self._renew()
        return work(self._enter())

    def _enter(self) -> Any:
        if self._pid != os.getpid():
            self._pid, self._session = os.getpid(), None
            self._renew()
        if self._session is None:
            token = self._find_token()
            self._session = self._log_in(token)
            self._mechanisms = frozenset(token.slot.get_mechanisms())
        return self._session

    def _renew(self) -> None:
        """Forget the session and the module: its connection may have been lost."""
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
            there = ", ".join(sorted(labels - {""}))  # a token that is not initialised has no label
            raise ConfigError(
                f"there is no PKCS #11 token {self.label} (there is: {there or 'none'}): set AFFIANT_PKCS11_TOKEN"
            ) from error
        except exceptions.MultipleTokensReturned as error:
            raise ConfigError(f"two PKCS #11 tokens have the label {self.label}: give one of them another") from error
        except exceptions.PKCS11Error as error:
            raise ConfigError(
                f"the PKCS #11 module {self._module} cannot be used ({str(error) or type(error).__name__}):"
                f" {_remedy(error)}"
            ) from error

    def _log_in(self, token: Any) -> Any:
        if self._refused:  # a token locks itself after a few wrong PINs
            raise ConfigError(self._refused)
        try:
            return token.open(rw=True, user_pin=self._pin)
        except exceptions.UserAlreadyLoggedIn:  # by another session of this process
            return token.open(rw=True)
        except _NO_PIN as error:
            self._refused = f"the PKCS #11 token {self.label} refuses the PIN ({type(error).__name__}): set {PIN}"
            raise ConfigError(self._refused) from error

    def _make(self, session: Any, kid: str, alg: str) -> PublicCryptoKey:
        way = mechanisms.choose_way(alg, self._mechanisms, token=self.label)
        # Danger: a lost session may have left a key of this name, and then either of the two might sign.
        self._erase(session, [kid])
        public, private = mechanisms.generate(session, kid, way)
        try:
            made = mechanisms.read_public(public, way)
            # Reject a token with another form of signatures, or with keys that can leave it, before a key is in use.
            proof = mechanisms.sign(private, way, kid.encode())
            parse_public_jwk({**jwk.build(made), "alg": alg}).verify(alg, kid.encode(), proof)
            if private[Attribute.EXTRACTABLE] or not private[Attribute.SENSITIVE]:
                raise ConfigError(f"the PKCS #11 token {self.label} makes keys that can leave it")
        except BaseException:
            private.destroy()
            public.destroy()
            raise
        return made

    def _sign(self, session: Any, kid: str, alg: str, data: bytes) -> bytes:
        if kid not in self._keys:
            found = next(iter(_find(session, kid)), None)
            if found is None:
                raise SignerError(f"the PKCS #11 token {self.label} does not have the key {kid}")
            self._keys[kid] = found
        way = mechanisms.choose_way(alg, self._mechanisms, token=self.label)
        return mechanisms.sign(self._keys[kid], way, data)

    def _erase(self, session: Any, kids: Collection[str]) -> None:
        for kid in kids:
            self._keys.pop(kid, None)
            for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
                for key in _find(session, kid, kind):
                    key.destroy()


def load(module: Path, label: str, pin_file: Path | None, environment: Mapping[str, str] = os.environ) -> Token:
    """Return the token with the PIN from AFFIANT_PKCS11_PIN or a file, without calling it."""
    pin = environment.get(PIN) or (_pin_from(pin_file) if pin_file is not None else "")
    if not pin:
        raise ConfigError(f"the PKCS #11 token {label} needs its PIN: set {PIN}, or AFFIANT_PKCS11_PIN_FILE")
    return Token(module, label, pin)


def _pin_from(path: Path) -> str:
    try:
        return read_private(path, what="the PIN file", variable=PIN).decode("utf-8").strip()
    except FileNotFoundError as error:
        raise ConfigError(f"the PIN file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:  # not chained: it has the bytes of the secret
        raise ConfigError(f"the PIN file {path} cannot be read: not UTF-8") from None


def _find(session: Any, kid: str | None = None, kind: ObjectClass = ObjectClass.PRIVATE_KEY) -> list[Any]:
    wanted: dict[Attribute, Any] = {Attribute.CLASS: kind, Attribute.LABEL: LABEL}
    if kid is not None:
        wanted[Attribute.ID] = kid.encode()
    return list(session.get_objects(wanted))


def _kid(key: Any) -> str:
    return bytes(key[Attribute.ID]).decode("ascii", "replace")


def _remedy(error: exceptions.PKCS11Error) -> str:
    if isinstance(error, exceptions.ArgumentsBad):
        return (
            "it needs an initialisation string, as that of NSS does: load it through p11-kit-proxy.so (x-init-reserved)"
        )
    if isinstance(error, _NO_DAEMON):
        return "start its daemon, such as pkcsslotd or tpm2-abrmd, and let the user of this process reach it"
    return "set AFFIANT_PKCS11_MODULE"
