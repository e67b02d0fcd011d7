"""Checks of what the service has: its credentials file, its key and its certificate."""

from __future__ import annotations

import shlex
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from affiant.cli.diagnosis.checkup.finding import BAD, GOOD, WARNING, Examined, Finding, one_line
from affiant.cli.tokens.options import find
from affiant.client.credentials.file import ENVIRONMENT
from affiant.client.credentials.search import name_of
from affiant.client.identity import Service
from affiant.errors import ConfigError, LocalError
from affiant.jose.keys import PrivateKey
from affiant.oauth.binding import mtls
from affiant.signers.local import load_signer
from affiant.system.text import instant

_SOON = 14  # days


def credentials(examined: Examined) -> Iterator[Finding]:
    """The file can be read, by its owner alone."""
    by = f"-c {examined.named}" if examined.named is not None else ENVIRONMENT
    try:
        found = find(examined.named, examined.resource, examined.scope)
    except LocalError as error:
        yield Finding(
            "credentials", BAD, one_line(error), "name a file with -c FILE; to get one: affiant enroll TICKET"
        )
        return
    examined.credentials = found
    place = Path(name_of(examined.named))
    if place.is_file() and _is_open(place.resolve().parent):
        yield Finding(
            "credentials",
            WARNING,
            f"every user may replace files in {place.resolve().parent}",
            f"chmod o-w {shlex.quote(str(place.resolve().parent))}",
        )
    yield Finding("credentials", GOOD, f"of {found.client_id} at {found.issuer}, named by {by}")


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
        if found.private_key is None:
            what = "a certificate" if found.client_secret is None else "a client secret"
            yield Finding("key", GOOD, f"{found.auth_method}, with {what}")
            return
        signer = load_signer(found.private_key, found.alg, found.kid)
    except (ConfigError, LocalError) as error:
        yield Finding("key", BAD, one_line(error), fix)
        return
    yield Finding("key", GOOD, f"{found.auth_method}, {signer.alg}, {_names(signer.kid, thumbprint(examined))}")


def thumbprint(examined: Examined) -> str | None:
    """Return that of the key (RFC 7638), if this machine has the key itself."""
    found = examined.credentials
    if found is None or found.key is None:
        return None
    signer = load_signer(found.key, found.alg)
    return signer.public().thumbprint if isinstance(signer, PrivateKey) else None


def _names(kid: str | None, thumb: str | None) -> str:
    return f"thumbprint {thumb}" if kid in (None, thumb) and thumb else f"kid {kid}, thumbprint {thumb}"


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
