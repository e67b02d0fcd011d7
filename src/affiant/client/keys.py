"""The keys of a client, led from one to the next by itself: the private ones never leave this machine.

A rotation is a row of steps, each of which can be taken twice. What is under way stands in the credentials file, so
that whoever was stopped, at any point, runs it again and it ends well; until then the file has a key that works.
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

from affiant.client import credentials as credentials_file
from affiant.client import flow, transport
from affiant.client.auth import Assertion
from affiant.client.credentials import Credentials
from affiant.client.flow import Reply, Step
from affiant.errors import ConfigError, LocalError, Refused, RemoteError
from affiant.jose import keys
from affiant.jose.keys import PrivateKey
from affiant.jose.strict_json import parse_object
from affiant.oauth.metadata import Metadata

if TYPE_CHECKING:
    import httpx2

Tell = Callable[[str], object]

SEEN_SECONDS = 1.0  # within which every worker and node of a server knows a key that changed
DEFAULT_OVERLAP = 86_400  # seconds that the old key stays good for processes that read the file before
_SUCCESS = range(200, 300)
_UNKNOWN = "client_keys.unknown"


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation came to.

    Attributes:
        kid: of the key that the file signs with now.
        old_kid: of the key that it followed.
        old_ends_at: when that one ends, in seconds since the epoch; None where the server knows it no longer.
    """

    kid: str
    old_kid: str
    old_ends_at: int | None


@dataclass(slots=True)
class KeyRing:
    """A client's keys at its server.

    Attributes:
        issuer: the server's issuer identifier.
        client_id: whose.
        http: the HTTP client to use.
        clock: seconds since the epoch.
    """

    issuer: str
    client_id: str
    http: httpx2.Client = field(repr=False)
    clock: Callable[[], float] = field(default=time.time, repr=False)

    def ask(self, signer: PrivateKey, *, method: str = "POST", **form: str) -> list[dict[str, Any]]:
        """Ask for one step, signed with this key; the client's keys as they are then.

        Raises:
            Refused: the server says why not.
            RemoteError: it lets no client change its keys, or its answer cannot be used.
            Unreachable: it does not answer.
        """
        asking = _ask(self.issuer, self.client_id, signer, method, list(form.items()), self.clock)
        return transport.run(asking, self.http)


def _ask(
    issuer: str,
    client_id: str,
    signer: PrivateKey,
    method: str,
    form: list[tuple[str, str]],
    clock: Callable[[], float],
) -> Generator[Step, Reply | None, list[dict[str, Any]]]:
    server = yield from flow.discover(issuer, clock=clock)
    url = _endpoint(server)
    reply = yield from flow.ask(server, url, client_id, Assertion(signer), form, clock=clock, method=method)
    if reply.status not in _SUCCESS:
        raise flow.refusal(reply, url)
    return _read(reply, url)


def _endpoint(server: Metadata) -> str:
    try:
        url = server.endpoint("client_keys_endpoint")
    except ValueError as error:
        raise RemoteError(f"the metadata of {server.issuer}: {error}") from None
    if url is None:
        raise RemoteError(f"{server.issuer} does not let clients change their keys")
    return url


def _read(reply: Reply, url: str) -> list[dict[str, Any]]:
    try:
        found = parse_object(reply.body).get("keys")
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(k, dict) and isinstance(k.get("kid"), str) for k in found):
        raise RemoteError(f"{url} answered with something else than the client's keys")
    return found


def signer(found: Credentials) -> PrivateKey:
    """The key of a credentials file, under the name that its server knows it by.

    Raises:
        LocalError: it has none, or one that cannot be used.
    """
    if found.key is None:
        raise LocalError(f"{found.client_id} has no key: it authenticates by {found.auth_method}")
    return _parse(found.key if found.kid is None else {**found.key, "kid": found.kid}, found.alg)


def rotate(
    path: Path,
    http: httpx2.Client,
    *,
    overlap: int = DEFAULT_OVERLAP,
    tell: Tell = lambda _: None,
    wait: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.time,
) -> Rotated:
    """Put a new key in the place of the one in this credentials file; or finish what was begun.

    Args:
        path: the credentials file.
        http: the HTTP client to use.
        overlap: seconds that the old key stays good.
        tell: is told each step, in words.
        wait: sleeps so many seconds.
        clock: seconds since the epoch.

    Raises:
        LocalError: the file cannot be used, is another user's, or is being rotated.
        ConfigError: it cannot be written.
        Refused: the server says why not.
        RemoteError: another answer than this takes.
    """
    with alone(path) as (file, standing):
        ring, found = KeyRing(standing.issuer, standing.client_id, http, clock), standing
        if found.old_key is None:
            found = _take_next_into_use(file, found, ring, tell, wait)
        return _retire_old(file, found, ring, overlap, tell)


def cancel(path: Path, http: httpx2.Client, kid: str | None = None, *, clock: Callable[[], float] = time.time) -> str:
    """Take back an announced key, the one in this credentials file when none is named; its kid.

    Raises:
        LocalError: nothing is announced in the file, and none was named.
        Refused: the server says why not: it may be in use.
    """
    with alone(path) as (file, found):
        waiting = _parse(found.next_key, found.alg).kid if found.next_key is not None else None
        kid = kid or waiting
        if kid is None:
            raise LocalError(f"{path} has no key that is announced: name one")
        ring = KeyRing(found.issuer, found.client_id, http, clock)
        try:
            ring.ask(signer(found), action="cancel", kid=kid)
        except Refused as refusal:
            if kid != waiting or not _is_unknown(refusal):  # one that never got there is as good as cancelled
                raise
        if kid == waiting:
            replace(found, next_key=None).replace(file)
        return kid


@contextlib.contextmanager
def alone(path: Path) -> Iterator[tuple[Path, Credentials]]:
    """The file that is meant, and what stands in it, while nobody else changes it.

    Raises:
        LocalError: it cannot be read, is another user's, or somebody else is changing it.
    """
    path = path.resolve()  # the file itself is replaced, not a link to it
    credentials_file.read(path)  # before it is locked: what is wrong with it is told at once
    if path.stat().st_uid != os.geteuid():
        raise LocalError(f"{path} is another user's, who could not read it afterwards: run this as that user")
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            # Of the folder: the file is another one after each step.
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LocalError(f"a key in {path.parent} is being changed by another process") from None
        yield path, credentials_file.read(path)
    finally:
        os.close(folder)


def _take_next_into_use(
    path: Path, found: Credentials, ring: KeyRing, tell: Tell, wait: Callable[[float], object]
) -> Credentials:
    was_begun = found.next_key is not None
    old = signer(found)
    if found.next_key is None:
        found = replace(found, next_key=keys.generate(found.alg or old.alg).to_jwk())
        found.replace(path)  # before anybody hears of it: a key that is announced and lost would be in the way
    new = _parse(found.next_key or {}, found.alg)
    tell(f"{'went on with' if was_begun else 'made'} {new.kid}  {new.alg}")
    if not (was_begun and _prove(ring, new)):
        ring.ask(old, action="announce", jwk=json.dumps(new.public().to_jwk()))
        tell(f"announced {new.kid}")
        wait(SEEN_SECONDS)
        ring.ask(new, action="prove")
    tell(f"proved {new.kid}")
    wait(SEEN_SECONDS)
    # The old one stays in the file until the server has let it go.
    # Write the new key into this file: another program may write the key_file.
    found = replace(found, key=found.next_key, key_file=None, kid=new.kid, next_key=None, old_key=old.to_jwk())
    found.replace(path)
    tell(f"{path} signs with {new.kid} from now on")
    return found


def _prove(ring: KeyRing, new: PrivateKey) -> bool:
    try:
        ring.ask(new, action="prove")
    except Refused as refusal:
        if refusal.error != "invalid_client":
            raise
        return False
    return True


def _retire_old(path: Path, found: Credentials, ring: KeyRing, overlap: int, tell: Tell) -> Rotated:
    new, old = signer(found), _parse(found.old_key or {}, None)
    ends_at, name = None, old.public().thumbprint  # an earlier key of the client may have had the same kid
    try:
        known = ring.ask(new, action="retire", kid=name, overlap=str(overlap))
        ends_at = next((key.get("revoked_at") for key in known if key.get("thumbprint") == name), None)
    except Refused as refusal:
        if not _is_unknown(refusal):
            raise
    replace(found, old_key=None).replace(path)
    tell(f"retired {old.kid}")
    return Rotated(new.kid, old.kid, ends_at if isinstance(ends_at, int) else None)


def _is_unknown(refusal: Refused) -> bool:
    return (refusal.error_uri or "").endswith(f"/{_UNKNOWN}")


def _parse(jwk: dict[str, Any], alg: str | None) -> PrivateKey:
    try:
        return keys.parse_private_jwk(jwk, alg=alg)
    except ConfigError as error:
        raise LocalError(f"the key in the credentials file cannot be used: {error}") from None
