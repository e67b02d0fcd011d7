"""Rotate a client's own key. Its private keys never leave this machine.

Every step of a rotation can be repeated, and its state is in the credentials file. An interrupted rotation is finished
by running it again; at any moment the file has a key that works.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affiant.client.credentials import file as credentials_file
from affiant.client.credentials.file import Credentials
from affiant.client.credentials.own_key import locate
from affiant.client.protocol import flow, transport
from affiant.client.protocol.auth import Assertion
from affiant.client.protocol.flow import Reply, Step
from affiant.errors import ConfigError, LocalError, Refused, RemoteError
from affiant.jose import keys
from affiant.jose.keys import PrivateKey
from affiant.jose.strict_json import parse_object
from affiant.signers import sources
from affiant.signers.forms import documents
from affiant.signers.local import find_local, load_signer

if TYPE_CHECKING:  # the first request loads it
    import httpx2

Report = Callable[[str], object]

SEEN_SECONDS = 1.0  # after which every worker and node of a server knows a changed key
DEFAULT_OVERLAP = 86_400  # seconds for which the old key stays valid for processes that have read it
_SUCCESS = range(200, 300)
_UNKNOWN = "client_keys.unknown"


@dataclass(frozen=True, slots=True)
class Rotated:
    """The result of a rotation."""

    kid: str
    old_kid: str
    old_ends_at: int | None  # in seconds since the epoch; None if the server no longer knows the old key


@dataclass(slots=True)
class KeyRing:
    """A client's keys at its server."""

    issuer: str
    client_id: str
    http: httpx2.Client = field(repr=False)
    clock: Callable[[], float] = field(default=time.time, repr=False)

    def ask(self, signer: PrivateKey, *, method: str = "POST", **form: str) -> list[dict[str, Any]]:
        """Request one step, signed with this key, and return the client's keys after it."""
        return transport.run(self._ask(signer, method, list(form.items())), self.http)

    def _ask(
        self, signer: PrivateKey, method: str, form: list[tuple[str, str]]
    ) -> Generator[Step, Reply | None, list[dict[str, Any]]]:
        server = yield from flow.discover(self.issuer, clock=self.clock)
        url = flow.endpoint(server, "client_keys_endpoint", missing="does not let clients change their keys")
        auth = Assertion(signer)
        reply = yield from flow.ask(server, url, self.client_id, auth, form, clock=self.clock, method=method)
        if reply.status not in _SUCCESS:
            raise flow.refusal(reply, url)
        return _read(reply, url)


def _read(reply: Reply, url: str) -> list[dict[str, Any]]:
    try:
        found = parse_object(reply.body).get("keys")
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(k, dict) and isinstance(k.get("kid"), str) for k in found):
        raise RemoteError(f"{url} did not answer with the client's keys")
    return found


def signer(found: Credentials) -> PrivateKey:
    """Return the key of a credentials file, with the kid under which its server has it."""
    if found.signer is not None:
        raise LocalError(
            f"the key of {found.client_id} is held elsewhere ({found.signer.partition(':')[0]}:): make a new one there"
        )
    key = locate(found)
    if key is None:
        raise LocalError(f"{found.client_id} has no key: it authenticates by {found.auth_method}")
    local = find_local(load_signer(key, found.alg, found.kid))
    if local is None:
        raise LocalError(f"{found.client_id} has a key that never leaves its place: add and retire keys there")
    return local


def rotate(
    path: Path,
    http: httpx2.Client,
    *,
    overlap: int = DEFAULT_OVERLAP,
    report: Report = lambda _: None,
    wait: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.time,
) -> Rotated:
    """Replace the key in this credentials file by a new one, or finish a rotation that was interrupted.

    The old key stays valid for `overlap` seconds. `report` gets each step in words.
    """
    with alone(path) as (file, found):
        ring = KeyRing(found.issuer, found.client_id, http, clock)
        renewed = _take_next_into_use(file, found, ring, report, wait) if found.old_key is None else found
        return _retire_old(file, renewed, ring, overlap, report)


def cancel(path: Path, http: httpx2.Client, kid: str | None = None, *, clock: Callable[[], float] = time.time) -> str:
    """Cancel an announced key, by default the one in this credentials file, and return its kid."""
    with alone(path) as (file, found):
        waiting = _parse(found.next_key, found.alg).kid if found.next_key is not None else None
        kid = kid or waiting
        if kid is None:
            raise LocalError(f"{path} has no announced key: name one")
        ring = KeyRing(found.issuer, found.client_id, http, clock)
        try:
            ring.ask(signer(found), action="cancel", kid=kid)
        except Refused as refusal:
            if kid != waiting or not _is_unknown(refusal):  # the server never got it
                raise
        if kid == waiting:
            replace(found, next_key=None).replace(file)
        return kid


@contextlib.contextmanager
def alone(path: Path) -> Iterator[tuple[Path, Credentials]]:
    """Yield the real path of the file and its content, and lock out other processes."""
    path = path.resolve()  # the file itself is replaced, not a link to it
    credentials_file.read(path)  # before the lock: a wrong file is an error at once
    if path.stat().st_uid != os.geteuid():
        raise LocalError(f"{path} belongs to another user, who could not read the new file: run this as that user")
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            # The folder, not the file: each step replaces the file.
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LocalError(f"a key in {path.parent} is being changed by another process") from None
        yield path, credentials_file.read(path)
    finally:
        os.close(folder)


def _take_next_into_use(
    path: Path, found: Credentials, ring: KeyRing, report: Report, wait: Callable[[float], object]
) -> Credentials:
    was_begun = found.next_key is not None
    _check_plain(found, path)
    old = signer(found)
    if found.next_key is None:
        found = replace(found, next_key=keys.generate(found.alg or old.alg).to_jwk())
        found.replace(path)  # Order: before it is announced, or an interruption could lose a key that the server has
    new = _parse(found.next_key or {}, found.alg)
    report(f"{'went on with' if was_begun else 'made'} {new.kid}  {new.alg}")
    if not (was_begun and _prove(ring, new)):
        ring.ask(old, action="announce", jwk=json.dumps(new.public().to_jwk()))
        report(f"announced {new.kid}")
        wait(SEEN_SECONDS)
        ring.ask(new, action="prove")
    report(f"proved {new.kid}")
    wait(SEEN_SECONDS)
    # The old key stays in the file until the server has retired it. The new one is written into this file, not into the
    # key_file, which another program may write.
    found = replace(found, key=found.next_key, key_file=None, kid=new.kid, next_key=None, old_key=old.to_jwk())
    found.replace(path)
    report(f"{path} signs with {new.kid} from now on")
    return found


def _check_plain(found: Credentials, path: Path) -> None:
    """Reject a key that is protected. Attack: the file gets it, and the new one, as plain text, and a backup has it."""
    if found.key_file is None:
        return
    asked: list[None] = []
    scheme, where = sources.split(found.key_file)[0], "encrypted"
    if scheme in ("", "file"):
        with contextlib.suppress(ConfigError):  # without its password
            text = sources.read(locate(found).key)
            documents.parse_private_key(text, kid=found.kid, password=lambda: asked.append(None))
        if not asked:
            return
    else:
        where = f"in another place ({scheme}:)"
    raise LocalError(
        f"the key of {found.client_id} is {where}, and {path} would get the new one as plain text: make one in its"
        " place (affiant key new, affiant key convert), let the operator register its public part, and retire this one"
    )


def _prove(ring: KeyRing, new: PrivateKey) -> bool:
    try:
        ring.ask(new, action="prove")
    except Refused as refusal:
        if refusal.error != "invalid_client":
            raise
        return False
    return True


def _retire_old(path: Path, found: Credentials, ring: KeyRing, overlap: int, report: Report) -> Rotated:
    new, old = signer(found), _parse(found.old_key or {}, None)
    ends_at, name = None, old.public().thumbprint  # an earlier key of the client may have had the same kid
    try:
        known = ring.ask(new, action="retire", kid=name, overlap=str(overlap))
        ends_at = next((key.get("revoked_at") for key in known if key.get("thumbprint") == name), None)
    except Refused as refusal:
        if not _is_unknown(refusal):
            raise
    replace(found, old_key=None).replace(path)
    report(f"retired {old.kid}")
    return Rotated(new.kid, old.kid, ends_at if isinstance(ends_at, int) else None)


def _is_unknown(refusal: Refused) -> bool:
    return (refusal.error_uri or "").endswith(f"/{_UNKNOWN}")


def _parse(jwk: dict[str, Any], alg: str | None) -> PrivateKey:
    try:
        return keys.parse_private_jwk(jwk, alg=alg)
    except ConfigError as error:
        raise LocalError(f"the key in the credentials file cannot be used: {error}") from None
