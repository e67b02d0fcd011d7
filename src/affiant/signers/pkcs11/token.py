"""Make, use and erase the signing keys of a server in a PKCS #11 token."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pkcs11 import Attribute, ObjectClass

from affiant.errors import ConfigError, SignerError
from affiant.jose import jwk
from affiant.jose.algorithms import PublicCryptoKey
from affiant.jose.keys import parse_public_jwk
from affiant.signers import threads
from affiant.signers.pkcs11 import mechanisms
from affiant.signers.pkcs11.mechanisms import LABEL
from affiant.signers.pkcs11.session import PIN, WORK_SECONDS, Session, Which
from affiant.system.files import read_private


class Token(Session):
    """One token, and the keys of a server in it."""

    is_writable: ClassVar[bool] = True

    def __init__(self, module: Path, label: str, pin: str) -> None:
        super().__init__(module, Which(label), pin)
        self.label = label

    async def generate(self, kid: str, alg: str) -> PublicCryptoKey:
        """Make a key, and return its public part once it has signed."""
        self.check_alg(alg)
        return await self._run(lambda session: self._make(session, kid, alg), WORK_SECONDS)

    def check_alg(self, alg: str) -> None:
        """Raise ConfigError if no PKCS #11 token can sign with this algorithm here."""
        mechanisms.check_alg(alg)

    async def sign(self, kid: str, alg: str, data: bytes) -> bytes:
        """Return the signature in the form of RFC 7518 section 3."""
        try:
            return await self._run(lambda session: self._sign(session, kid, alg, data), threads.SIGN_SECONDS)
        except ConfigError as error:
            raise SignerError(str(error)) from error

    async def list(self) -> set[str]:
        """Return the names of our keys."""
        return await self._run(lambda session: {_kid(key) for key in _find(session)}, WORK_SECONDS)

    async def erase(self, kids: Collection[str]) -> None:
        """Erase these keys and their public parts, if they exist."""
        await self._run(lambda session: self._erase(session, kids), WORK_SECONDS)

    def _make(self, session: Any, kid: str, alg: str) -> PublicCryptoKey:
        way = mechanisms.choose_way(alg, self.mechanisms, token=self.label)
        # Danger: a lost session may have left a key of this name, and then either of the two might sign.
        self._erase(session, [kid])
        public, private = mechanisms.generate(session, kid, way)
        try:
            made = mechanisms.read_public(public)
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
        if kid not in self.handles:
            found = next(iter(_find(session, kid)), None)
            if found is None:
                raise SignerError(f"the PKCS #11 token {self.label} does not have the key {kid}")
            self.handles[kid] = found
        way = mechanisms.choose_way(alg, self.mechanisms, token=self.label)
        return mechanisms.sign(self.handles[kid], way, data)

    def _erase(self, session: Any, kids: Collection[str]) -> None:
        for kid in kids:
            self.handles.pop(kid, None)
            for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
                for key in _find(session, kid, kind):
                    key.destroy()


def load(module: Path, label: str, pin_file: Path | None, environment: Mapping[str, str] = os.environ) -> Token:
    """Return the token with the PIN from AFFIANT_PKCS11_PIN or a file, without calling it."""
    pin = environment.get(PIN) or (read_pin(pin_file) if pin_file is not None else "")
    if not pin:
        raise ConfigError(f"the PKCS #11 token {label} needs its PIN: set {PIN}, or AFFIANT_PKCS11_PIN_FILE")
    return Token(module, label, pin)


def read_pin(path: Path) -> str:
    """Return the PIN in this file; raise ConfigError if others may read it."""
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
