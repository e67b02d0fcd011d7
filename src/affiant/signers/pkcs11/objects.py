"""Find a key that others made in a token, and its public part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from cryptography import x509
from pkcs11 import Attribute, KeyType, ObjectClass, exceptions

from affiant.errors import ConfigError
from affiant.jose.algorithms import PublicCryptoKey
from affiant.signers.pkcs11 import mechanisms
from affiant.signers.pkcs11.uri import KeyUri


def get_private(session: Any, uri: KeyUri) -> Any:
    """Return the handle of the one private key that the URI names."""
    found = list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, **_named(uri.label, uri.id)}))
    if len(found) > 1:
        both = "object= and id=" if uri.label is None or uri.id is None else "another label or id to one of them, and"
        raise ConfigError(f"{len(found)} keys of the token fit {uri}: give {both} in the URI")
    if not found:
        every = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        there = ", ".join(sorted(f"{key.label or ''} (id {bytes(key.id or b'').hex()})" for key in every))
        raise ConfigError(
            f"there is no {uri.key} in the PKCS #11 token {uri.which} (there is: {there or 'none'}):"
            " correct object= or id= in the URI"
        )
    return found[0]


def find_public(session: Any, private: Any) -> PublicCryptoKey | None:
    """Return the public part of this private key, from the token or from a certificate in it."""
    try:
        if private.key_type is KeyType.RSA:
            with suppress(exceptions.PKCS11Error):
                return mechanisms.read_public(private)
        return next(_found(session, private), None)
    except ValueError as error:
        raise ConfigError(f"the public key in the PKCS #11 token cannot be read: {error}") from None


def _found(session: Any, private: Any) -> Iterator[PublicCryptoKey]:
    id_ = bytes(private.id or b"")
    same = _named(None if id_ else private.label, id_ or None)
    if not same:
        return
    for public in list(session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, **same})):
        if public.key_type is private.key_type:
            yield mechanisms.read_public(public)
    for held in list(session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE, **same})):
        with suppress(ValueError):  # not X.509, or of a type that cryptography does not know
            key: Any = x509.load_der_x509_certificate(held[Attribute.VALUE]).public_key()
            yield key


def _named(label: str | None, id_: bytes | None) -> dict[Attribute, Any]:
    wanted = {Attribute.LABEL: label, Attribute.ID: id_}
    return {name: value for name, value in wanted.items() if value is not None}
