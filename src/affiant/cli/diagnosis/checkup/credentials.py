"""Checks of what the service has: its credentials file, its key and its certificate."""

from __future__ import annotations

import shlex
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from affiant.cli.arguments import hide_secrets
from affiant.cli.diagnosis.checkup.finding import BAD, GOOD, WARNING, Examined, Finding
from affiant.cli.tokens.options import find
from affiant.client.credentials import own_key, search
from affiant.client.credentials.search import FOUND
from affiant.client.identity import Service
from affiant.errors import ConfigError, LocalError
from affiant.oauth.binding import mtls
from affiant.oauth.metadata import check_issuer
from affiant.signers.local import find_local
from affiant.system.text import instant, one_line, printable

_SOON = 14  # days
_LONGEST = 24  # characters of a name: secrets are longer


def credentials(examined: Examined) -> Iterator[Finding]:
    """The file can be read, by its owner alone."""
    try:
        found = find(examined.named, examined.resource, examined.scope)
    except LocalError as error:
        is_missing = examined.named is None or isinstance(error.__cause__, FileNotFoundError)
        fix = "affiant who  shows where they are looked for" if is_missing else "correct the file"
        yield Finding("credentials", BAD, one_line(error), fix)
        return
    try:
        _ = urlsplit(check_issuer(found.issuer)).port
    except ValueError as error:
        yield Finding(
            "credentials", BAD, f'"issuer" is {found.issuer!r}: {error}', 'correct "issuer" in the credentials'
        )
        return
    examined.credentials = found
    place = next(place for place in search.look(examined.named).places if place.state == FOUND)
    folder = place.file.resolve().parent if place.file is not None else None
    if folder is not None and _is_open(folder):
        text = f"every user may replace files in {folder}"
        yield Finding("credentials", WARNING, text, f"chmod o-w {shlex.quote(str(folder))}")
    if found.unread:
        # Attack: a secret in the place of a name.
        listed = ", ".join(printable(hide_secrets(name), _LONGEST) for name in found.unread[:5])
        yield Finding(
            "credentials", WARNING, f"members that are not known are not used: {listed}", "correct their names"
        )
    by = f"{place.file} ({place.name})" if place.file is not None else place.name
    yield Finding("credentials", GOOD, f"{found.client_id} at {found.issuer}, from {by}")


def _is_open(folder: Path) -> bool:
    mode = folder.stat().st_mode
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def key(examined: Examined) -> Iterator[Finding]:
    """The key or secret can be used."""
    found = examined.credentials
    if found is None:
        return
    fix = "make a new key pair, and let an operator register it: affiant key new"
    try:
        examined.service = Service.from_credentials(found)
        signer = own_key.load(found)
    except (ConfigError, LocalError) as error:
        yield Finding("key", BAD, one_line(error), fix)
        return
    if signer is None:
        what = "a certificate" if found.client_secret is None else "a client secret"
        yield Finding("key", GOOD, f"{found.auth_method}, with {what}")
        return
    mine = find_local(signer)
    examined.alg = signer.alg
    examined.thumbprint = mine.public().thumbprint if mine is not None else None
    names = {"kid": signer.kid, "thumbprint": examined.thumbprint}
    shown = (f"{name} {value}" for name, value in names.items() if value is not None)
    yield Finding("key", GOOD, ", ".join([found.auth_method, signer.alg, *shown]))


def certificate(examined: Examined) -> Iterator[Finding]:
    """The certificate for mutual TLS fits its key, and is valid for a while."""
    found, service = examined.credentials, examined.service
    if found is None or service is None or found.certificate is None:
        return
    fix = 'renew it, and name the new files in "certificate" and "certificate_key"'
    try:
        service.tls()
        content = mtls.parse_pem(Path(found.certificate).read_text("ascii")).content
    except (LocalError, OSError, ValueError) as error:
        yield Finding("certificate", BAD, one_line(error) if isinstance(error, LocalError) else str(error), fix)
        return
    yield validity("certificate", content.not_valid_after_utc.timestamp(), fix)


def validity(name: str, ends_at: float, fix: str) -> Finding:
    """Return whether a certificate is valid for some time."""
    days = (ends_at - time.time()) / 86_400
    text = f"valid until {instant(ends_at)}, for {int(days)} days"
    if days < 0:
        return Finding(name, BAD, f"it expired at {instant(ends_at)}", fix)
    return Finding(name, WARNING, text, fix) if days < _SOON else Finding(name, GOOD, text)
