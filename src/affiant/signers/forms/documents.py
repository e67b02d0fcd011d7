"""Parse private keys in JSON: a JWK, a JWK Set, and the key files of Google and ZITADEL; and any form as text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.jose.key_set import MAX_MEMBERS
from affiant.jose.keys import PrivateKey
from affiant.signers.forms import key_files
from affiant.signers.forms.pem import GetPassword, parse_pem
from affiant.signers.forms.spelling import unwrap

# Other documents in JSON, by a member of each.
_OTHERS = {
    "affiant": "this credentials file has no key itself: use  Service.from_credentials(PATH)",
    "ciphertext": "this is a JWE: decrypt the key, or give it as encrypted PEM",
    "access_token": "this is the answer of a token endpoint, which has no private key",
    "installed": "this is the file of a Google OAuth client for users, which has no private key",
    "web": "this is the file of a Google OAuth client for users, which has no private key",
    "refresh_token": "this is the login of a user, which has no private key",
    "credential_source": "this describes an external account of Google, which has no private key",
}
_SHOWN_KIDS = 8
_SHOWN = 64  # characters of a kid


def parse_private_key(
    text: str, *, alg: str | None = None, kid: str | None = None, password: GetPassword = lambda: None
) -> PrivateKey:
    """Return the private key in this text, in any form, or raise ConfigError.

    `kid` chooses one key of a JWK Set. `password` returns the password of an encrypted key.
    """
    text = unwrap(text)
    if text.startswith("{"):
        return parse_document(parse_json(text), alg=alg, kid=kid, password=password)
    return parse_pem(text, alg=alg, password=password)


def parse_document(
    members: dict[str, Any], *, alg: str | None = None, kid: str | None = None, password: GetPassword = lambda: None
) -> PrivateKey:
    """Return the private key in this JWK, JWK Set or key file."""
    if key_files.is_known(members):
        return _parse_key_file(members, alg, password)
    if "keys" in members:
        return _choose(members["keys"], alg, kid)
    if "affiant" in members and isinstance(members.get("key"), dict):
        return keys.parse_private_jwk(members["key"], alg=alg)  # the credentials file of another client
    for member, what in _OTHERS.items():
        if member in members and "kty" not in members:
            raise ConfigError(what)
    if members.get("kty") == "oct":
        raise ConfigError("this JWK is a shared secret (kty oct), not a private key: give its text as  secret=")
    if "kty" not in members:
        raise ConfigError("this JSON is no JWK: it has no kty")
    return keys.parse_private_jwk(members, alg=alg)


def _parse_key_file(members: dict[str, Any], alg: str | None, password: GetPassword) -> PrivateKey:
    text, kid = key_files.read(members)
    return parse_pem(unwrap(text), alg=alg, kid=kid, password=password)


def _choose(members: Any, alg: str | None, kid: str | None) -> PrivateKey:
    """Return the one private key of a set that signs, or the one with this kid (RFC 7517 section 5)."""
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise ConfigError('this is not a JWK Set: "keys" must be an array of keys')
    # Attack: a set with many members takes long to parse. They are counted first.
    if len(members) > MAX_MEMBERS:
        raise ConfigError(f"the JWK Set has {len(members)} members: at most {MAX_MEMBERS} are read")
    named = [member for member in members if kid is None or member.get("kid") == kid]
    if not named:
        found = _list(members) or "no key with a kid"
        raise ConfigError(f"the JWK Set has no key with the kid {_shown(kid)}: it has {found}")
    usable = list(_usable(named, alg))
    if len(usable) == 1:
        return usable[0]
    if not usable:
        which = "the key with that kid" if kid is not None else "no key of the JWK Set"
        fails = "cannot sign" if kid is not None else "can sign"
        raise ConfigError(f"{which} {fails}: a private key for signatures is needed{_why(named, alg)}")
    raise ConfigError(
        f"the JWK Set has {len(usable)} private keys: choose one by  kid=  of {_list([k.jwk for k in usable])}"
    )


def _usable(members: list[dict[str, Any]], alg: str | None) -> Iterator[PrivateKey]:
    for member in members:
        with suppress(ConfigError):  # ignore what is not understood, or for another purpose
            yield keys.parse_private_jwk(member, alg=alg)


def _why(members: list[dict[str, Any]], alg: str | None) -> str:
    """Return why the only candidate is none."""
    if len(members) != 1:
        return ""
    try:
        keys.parse_private_jwk(members[0], alg=alg)
    except ConfigError as error:
        return f" ({error})"
    return ""


def _list(members: list[dict[str, Any]]) -> str:
    kids = [_shown(member["kid"]) for member in members if isinstance(member.get("kid"), str)]
    return ", ".join(kids[:_SHOWN_KIDS]) + (f" and {len(kids) - _SHOWN_KIDS} more" if len(kids) > _SHOWN_KIDS else "")


def _shown(kid: Any) -> str:
    # Attack: a kid with terminal control characters. It is shown in ASCII, and shortened.
    return json.dumps(str(kid)[:_SHOWN])


def parse_json(text: str) -> dict[str, Any]:
    """Return the members of a text that begins with a brace."""
    try:
        members: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigError("the key begins like a JWK, but is not JSON") from None
    return members
