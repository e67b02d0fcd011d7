"""The credentials file: issuer, client_id and key of a service in one file."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affiant.client.cache.stores.kept import mark_of
from affiant.client.token import NotPickled
from affiant.errors import ConfigError, LocalError
from affiant.oauth import names
from affiant.signers import sources
from affiant.signers.forms import key_files, spelling
from affiant.system.files import SUFFIX, VERSION, denied, file_name, read_private

__all__ = ["ENVIRONMENT", "SUFFIX", "VERSION", "Credentials", "file_name", "put_private", "read"]

if TYPE_CHECKING:  # a kept token is read without it
    from affiant.client.protocol.options import Options
    from affiant.client.protocol.presented import Presented

ENVIRONMENT = "AFFIANT_CREDENTIALS"
_PRIVATE = 0o600
_LEFT_SECONDS = 60.0  # after which the draft of another process is taken for left behind
GET_ONE = "affiant enroll (an operator gives you a ticket), or  affiant client new  at the server"
_NEXT = f"name another, or get one: {GET_ONE}"
_KEY_ALONE = "with a key alone, set AFFIANT_ISSUER, AFFIANT_CLIENT_ID and  AFFIANT_KEY=file:PATH"
_KEYS = frozenset({"key", "next_key", "old_key"})


@dataclass(frozen=True, slots=True)
class Credentials(NotPickled):
    """The content of a credentials file, as `affiant client new` and `affiant register` write it.

    Attributes:
        issuer: the identifier of the authorization server.
        client_id: of the service.
        auth_method: token_endpoint_auth_method (RFC 7591 section 2).
        alg: of the key.
        kid: of the key at the server, if that is not its own.
        key: the private JWK, or None.
        client_secret: the secret, or None.
        scope: requested by default.
        resource: requested by default.
        key_file: the path of the private key in any form, relative to the credentials file; or ``env:NAME``,
            ``file:PATH`` or ``keyring:SERVICE/USER``. It is read when the key is needed.
        signer: the name of a private key in a KMS or a device: ``awskms:alias/billing``, ``pkcs11:token=...``.
        certificate: the path of the certificate for mutual TLS (RFC 8705), PEM, with its intermediate certificates.
        certificate_key: the path of its private key, PEM, if that is another file.
        next_key: during a rotation, the private JWK that will replace `key`.
        old_key: during a rotation, the private JWK that `key` replaced.
        registration_client_uri: of a client that registered itself (RFC 7592 section 3).
        registration_access_token: for that URI; as secret as the key.
        token_endpoint: this and the following are for a server of another make, as the parameters of `Service` are.
        reach: where the server is reached.
        unsafe_reach: where the server is reached, by http.
        unsafe_audience: of the assertions.
        profile: the rules of a field.
        grant: of the token requests.
        subject: the account that the tokens are for.
    """

    issuer: str
    client_id: str
    auth_method: str
    alg: str | None = None
    kid: str | None = None
    key: dict[str, Any] | None = field(default=None, repr=False)
    client_secret: str | None = field(default=None, repr=False)
    scope: str | None = None
    resource: str | None = None
    certificate: str | None = None
    certificate_key: str | None = None
    next_key: dict[str, Any] | None = field(default=None, repr=False)
    old_key: dict[str, Any] | None = field(default=None, repr=False)
    key_file: str | None = None
    signer: str | None = field(default=None, repr=False)
    registration_client_uri: str | None = None
    registration_access_token: str | None = field(default=None, repr=False)
    token_endpoint: str | None = None
    reach: str | None = None
    unsafe_reach: str | None = None
    unsafe_audience: str | None = None
    profile: str | None = None
    grant: str | None = None
    subject: str | None = None

    # The names of members that affiant does not know.
    unread: tuple[str, ...] = field(default=(), compare=False, repr=False)
    # Not in the file: the file itself, the value of AFFIANT_KEY, and the platform whose tokens replace a key.
    file: Path | None = field(default=None, repr=False, compare=False)
    key_text: str | None = field(default=None, repr=False)
    platform: Presented | None = field(default=None, repr=False)

    @property
    def options(self) -> Options:
        """The options for a server of another make, as far as the file has them."""
        return {
            "token_endpoint": self.token_endpoint,
            "reach": self.reach,
            "unsafe_reach": self.unsafe_reach,
            "unsafe_audience": self.unsafe_audience,
            "profile": self.profile,
            "grant": self.grant,
            "subject": self.subject,
        }

    @property
    def key_mark(self) -> str:
        """A text that differs for another private key, and reveals none; read without cryptography."""
        if self.platform is not None:
            return self.platform.mark(time.time())
        if self.key is not None:
            return mark_of(self.key)
        named = self.key_text or self.key_file
        return self.signer or "" if named is None else sources.find_mark(named, folder=self.folder)

    @property
    def folder(self) -> Path:
        """Where the names of files in this file begin."""
        return self.file.parent if self.file is not None else Path()

    def write(self, path: Path) -> None:
        """Write a new file with mode 0600, whole or not at all.

        Raises:
            ConfigError: it exists, or its folder cannot be written.
        """
        self._write(path, os.link)  # unlike a rename, fails if the file exists

    def replace(self, path: Path) -> None:
        """Write the file over an existing one: a reader gets the old or the new one, whole.

        Raises:
            ConfigError: its folder cannot be written.
        """
        self._write(path, os.replace)

    def _write(self, path: Path, put: Callable[[Path, Path], None]) -> None:
        members = {name: getattr(self, name) for name in _MEMBERS}
        if self.key_file is not None:
            del members["key"]
        text = json.dumps({"affiant": VERSION, **{n: v for n, v in members.items() if v is not None}}, indent=2)
        put_private(path, text + "\n", put=put)


_NOT_IN_IT = ("unread", "file", "key_text", "platform")
_MEMBERS = tuple(name for name in Credentials.__dataclass_fields__ if name not in _NOT_IN_IT)


def put_private(
    path: Path,
    content: str | bytes,
    *,
    put: Callable[[Path, Path], None] = os.link,
    group: int | None = None,
    mode: int = _PRIVATE,
) -> None:
    """Write a file with mode 0600, whole or not at all. A group gets it only if it is named.

    `put` gives the finished file its name: ``os.link`` fails if the name exists, ``os.replace`` replaces it.
    """
    _sweep(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _PRIVATE)
        with os.fdopen(descriptor, "wb") as file:
            if group is not None:
                os.fchown(descriptor, -1, group)
            if mode != _PRIVATE:
                # Attack: chmod of its name would change another file, to which the owner of the folder puts a link.
                os.fchmod(descriptor, mode)
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        put(draft, path)
        _sync(path.parent)
    except FileExistsError:
        raise ConfigError(f"{path} exists already: move it away, or choose another name") from None
    except OSError as error:
        is_lost = isinstance(error, FileNotFoundError)
        why = f"the folder {path.parent} does not exist" if is_lost else f"{error.strerror}{denied(path, error)}"
        raise ConfigError(f"{path} cannot be written: {why}") from error
    finally:
        draft.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove the drafts of processes that were killed: each has a key or a token."""
    left, before = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}"), time.time() - _LEFT_SECONDS
    with contextlib.suppress(OSError), os.scandir(path.parent) as found:
        for entry in found:
            if left.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_mtime < before:
                Path(entry).unlink()


def _sync(folder: Path) -> None:
    """Make the name of a new file survive a power cut."""
    with contextlib.suppress(OSError):  # not every file system can
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(path: Path) -> Credentials:
    """Read a credentials file; raise LocalError if others may read it, or if it is no such file."""
    if spelling.may_be_key(str(path)) and not _exists(path):
        raise LocalError(
            f"this is not the path of a credentials file, and is not shown, since it may be a key: {_NEXT}"
        )
    try:
        text = read_private(path, what="the credentials file", variable=ENVIRONMENT).decode("utf-8")
    except FileNotFoundError as error:
        raise LocalError(
            f"the credentials file {path} cannot be read: {error.strerror}. {_NEXT.capitalize()}"
        ) from error
    except ConfigError as error:
        raise LocalError(str(error)) from error.__cause__
    except UnicodeDecodeError:  # not chained, since the exception contains the bytes
        raise LocalError(f"the credentials file {path} cannot be read: not UTF-8") from None
    return parse(text, name=str(path), file=path)


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (OSError, ValueError):  # also a name that is too long
        return False
    return True


def parse(text: str, *, name: str, file: Path | None = None) -> Credentials:
    """Read the text of a credentials file; `name` is for messages."""
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        if spelling.BEGIN in text:
            raise LocalError(f"{name} is a key or certificate, and not a credentials file: {_KEY_ALONE}") from None
        raise LocalError(f"{name} is not JSON: copy it again, or get a new one: {GET_ONE}") from None
    if not isinstance(members, dict) or members.get("affiant") != VERSION:
        if isinstance(members, dict) and ("kty" in members or "keys" in members or key_files.is_known(members)):
            raise LocalError(f"{name} is a key alone, and not a credentials file: {_KEY_ALONE}")
        raise LocalError(f'{name} is not a credentials file: it lacks "affiant": {VERSION}')
    known = {field: members[field] for field in _MEMBERS if field in members}
    for required in ("issuer", "client_id", "auth_method"):
        if required not in known:
            raise LocalError(f'{name} lacks "{required}"')
    _check_members(known, name)
    unread = tuple(name for name in members if name not in ("affiant", *_MEMBERS))
    return Credentials(**known, file=file, unread=unread)


def _check_members(known: dict[str, Any], name: str) -> None:
    """Raise LocalError if a member has the wrong type, or if the credential does not fit the method."""
    for field_name, value in known.items():
        if field_name == "key" and isinstance(value, str):  # the message does not show it: it may be the key itself
            raise LocalError(f'"key" in {name} must be a private JWK, an object: for a file, write  "key_file": "FILE"')
        if not (isinstance(value, dict) if field_name in _KEYS else _is_text(value)):
            raise LocalError(f'"{field_name}" in {name} is of the wrong kind')
    given = sum(credential in known for credential in ("key", "key_file", "signer", "client_secret"))
    if given != (0 if known["auth_method"] in names.BY_TLS else 1):
        methods = " or ".join(names.BY_TLS)
        raise LocalError(
            f'{name} must have one of "key", "key_file", "signer" and "client_secret", or with {methods} none of them'
        )


def _is_text(value: object) -> bool:
    # A lone surrogate, which JSON can encode, cannot be sent.
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)
