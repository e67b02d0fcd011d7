"""The session of this process with one token: find it, log in once, and begin again when it was lost.

python-pkcs11 initialises a module without locks (C_Initialize with NULL: PKCS #11 version 2.40, section 5.4), so only
one thread of a process may ever call it: that of `_thread`. Each process opens a session of its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import pkcs11
from pkcs11 import exceptions

from affiant.errors import ConfigError, SignerError
from affiant.signers import threads
from affiant.signers.threads import CallThreads

MODULE, PIN = "AFFIANT_PKCS11_MODULE", "AFFIANT_PKCS11_PIN"
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


class Which(NamedTuple):
    """The token that is meant (RFC 7512 section 2.3); an attribute that is None may have any value."""

    label: str | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None

    def __str__(self) -> str:
        if self.label is not None:
            return self.label
        return ", ".join(f"{name} {value}" for name, value in self._asdict().items() if value is not None)

    def is_met_by(self, token: Any) -> bool:
        serial = bytes(token.serial).decode("utf-8", "replace").strip()
        seen = Which(token.label, serial, token.manufacturer_id, token.model)
        return bool(token.label) and all(want in (None, has) for want, has in zip(self, seen, strict=True))


class Remedies(NamedTuple):
    """Remedies for messages: the settings of a server, or the parts of a URI."""

    module: str = "set AFFIANT_PKCS11_MODULE"
    token: str = "set AFFIANT_PKCS11_TOKEN"  # noqa: S105 - the name of a setting
    pin: str = f"set {PIN}"


_threads: dict[tuple[int, str], CallThreads] = {}


class Session:
    """The session with one token. All its calls run in the thread of the module."""

    is_writable: ClassVar[bool] = False

    def __init__(self, module: Path, which: Which, pin: str, remedies: Remedies = Remedies()) -> None:  # noqa: B008 - immutable
        self.which = which
        self._module = str(module)
        self._pin = pin
        self._remedies = remedies
        self._refused = ""
        self._pid = 0
        self._library: Any = None
        self._session: Any = None
        self.handles: dict[object, Any] = {}  # handles, good as long as the session
        self.mechanisms: frozenset[Any] = frozenset()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._module!r}, {str(self.which)!r})"

    async def close(self) -> None:
        """End the session; the next call begins another."""
        with contextlib.suppress(SignerError):
            await self._thread().run(self._leave, seconds=threads.SIGN_SECONDS)

    def wait(self, work: Callable[[Any], Result], seconds: float) -> Result:
        """Do this work with the session, and block until it is done; raise SignerError or ConfigError."""
        return self._thread().wait(lambda: self._attempt(work), seconds=seconds)

    async def _run(self, work: Callable[[Any], Result], seconds: float) -> Result:
        return await self._thread().run(lambda: self._attempt(work), seconds=seconds)

    def _thread(self) -> CallThreads:
        name = (os.getpid(), self._module)  # a forked child has none of its parent's threads
        if name not in _threads:
            _threads[name] = CallThreads(f"the PKCS #11 module {self._module}")
        return _threads[name]

    def _attempt(self, work: Callable[[Any], Result]) -> Result:
        try:
            return self._retry(work)
        except exceptions.PKCS11Error as error:
            raise SignerError(f"the PKCS #11 token {self.which}: {type(error).__name__}") from error

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
            self.mechanisms = frozenset(token.slot.get_mechanisms())
        return self._session

    def _renew(self) -> None:
        """Forget the session and the module: its connection may have been lost."""
        self._leave()
        if self._library is not None:
            with contextlib.suppress(exceptions.PKCS11Error):
                self._library.finalize()
            self._library = None

    def _leave(self) -> None:
        self.handles.clear()
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(exceptions.PKCS11Error):
                session.close()

    def _find_token(self) -> Any:
        try:
            self._library = pkcs11.lib(self._module)
            present = list(self._library.get_tokens())
        except exceptions.PKCS11Error as error:
            raise ConfigError(
                f"the PKCS #11 module {self._module} cannot be used ({str(error) or type(error).__name__}):"
                f" {self._remedy(error)}"
            ) from error
        found = [token for token in present if self.which.is_met_by(token)]
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(f"two PKCS #11 tokens have the label {self.which}: give one of them another")
        there = ", ".join(sorted({token.label for token in present} - {""}))  # one not initialised has no label
        raise ConfigError(
            f"there is no PKCS #11 token {self.which} (there is: {there or 'none'}): {self._remedies.token}"
        )

    def _log_in(self, token: Any) -> Any:
        if self._refused:  # a token locks itself after a few wrong PINs
            raise ConfigError(self._refused)
        try:
            return token.open(rw=self.is_writable, user_pin=self._pin)
        except exceptions.UserAlreadyLoggedIn:  # by another session of this process
            return token.open(rw=self.is_writable)
        except _NO_PIN as error:
            self._refused = (
                f"the PKCS #11 token {self.which} refuses the PIN ({type(error).__name__}): {self._remedies.pin}"
            )
            raise ConfigError(self._refused) from error

    def _remedy(self, error: exceptions.PKCS11Error) -> str:
        if isinstance(error, exceptions.ArgumentsBad):
            return (
                "it needs an initialisation string, as that of NSS does: load it through p11-kit-proxy.so"
                " (x-init-reserved)"
            )
        if isinstance(error, _NO_DAEMON):
            return "start its daemon, such as pkcsslotd or tpm2-abrmd, and let the user of this process reach it"
        return self._remedies.module
