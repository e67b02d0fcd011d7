"""Sign with a key that exists already in a PKCS #11 token; its name is a URI (RFC 7512)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from affiant.errors import ConfigError, LocalError, SignerError, Unreachable
from affiant.jose.algorithms import PublicCryptoKey
from affiant.signers.checked import Checked
from affiant.signers.held import Description, make_signer
from affiant.signers.pkcs11 import mechanisms, objects, uri
from affiant.signers.pkcs11.session import MODULE, PIN, Remedies, Session
from affiant.signers.pkcs11.token import read_pin
from affiant.signers.pkcs11.uri import KeyUri

SECONDS = 20.0  # a smart card with a long RSA key needs some of them
_REMEDIES = Remedies(
    module="correct module-path= in the URI, or AFFIANT_PKCS11_MODULE",
    token="correct token= in the URI",  # noqa: S106 - a remedy
    pin=f"correct the file of pin-source=, or {PIN}, and start again",
)
Result = TypeVar("Result")
# One for each token and PIN: a wrong PIN is tried once in a process, however many services have a key in the token.
_sessions: dict[tuple[Any, ...], Session] = {}


def open_key(place: str, *, name: str, alg: str | None = None, kid: str | None = None) -> Checked:  # noqa: ARG001
    """Return the signer of a URI without its scheme. The token is called when the signer is first used.

    Raises:
        LocalError: the URI cannot be read, the PIN or the module is not named, or the file of the PIN cannot be read.
    """
    found = uri.parse(place)
    module = found.module or Path(os.environ.get(MODULE, ""))
    if not module.name:
        raise LocalError(f"{found} needs the library of the token: add  ?module-path=FILE  to the URI, or set {MODULE}")
    try:
        pin = read_pin(found.pin_file) if found.pin_file is not None else os.environ.get(PIN, "")
    except ConfigError as error:
        raise LocalError(str(error)) from error.__cause__
    if not pin:
        raise LocalError(f"{found} needs a PIN: add  pin-source=file:/PATH  to the URI, or set {PIN}")
    session = _sessions.setdefault((module, found.which, pin), Session(module, found.which, pin, _REMEDIES))
    return make_signer(_Holder(found, session), name=str(found), alg=alg, kid=kid)


class _Holder:
    """Holds one private key; a Holder of signers/held.py."""

    def __init__(self, found: KeyUri, session: Session) -> None:
        self._uri = found
        self._session = session

    def connect(self) -> None:
        """Do nothing: each process begins a session of its own."""

    def describe(self) -> Description:
        return self._do(self._describe)

    def sign(self, alg: str, data: bytes) -> bytes:
        return self._do(lambda session: self._sign(session, alg, data))

    def _do(self, work: Callable[[Any], Result]) -> Result:
        try:
            return self._session.wait(work, SECONDS)
        except SignerError as error:
            raise Unreachable(str(error)) from error
        except ConfigError as error:
            raise LocalError(str(error)) from error

    def _describe(self, session: Any) -> Description:
        private = self._find(session)
        public = objects.find_public(session, private)
        if public is None:
            raise ConfigError(
                f"the public key of {self._uri} is not in the token: import it, or a certificate, with the same id"
            )
        return Description(public, tuple(self._algorithms(public)))

    def _algorithms(self, public: PublicCryptoKey) -> list[str]:
        return [
            alg for alg in mechanisms.fitting(public) if mechanisms.find_way(alg, self._session.mechanisms) is not None
        ]

    def _sign(self, session: Any, alg: str, data: bytes) -> bytes:
        way = mechanisms.find_way(alg, self._session.mechanisms)
        if way is None:
            raise ConfigError(f"the PKCS #11 token {self._uri.which} has no mechanism for {alg}")
        return mechanisms.sign(self._find(session), way, data)

    def _find(self, session: Any) -> Any:
        handles = self._session.handles
        if self._uri not in handles:
            handles[self._uri] = objects.get_private(session, self._uri)
        return handles[self._uri]
