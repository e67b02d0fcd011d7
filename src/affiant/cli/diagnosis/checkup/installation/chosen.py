"""Checks of what the operator chose: the source of the master key, and settings that weaken the server."""

from __future__ import annotations

import shlex
import ssl
import stat
import time
from collections.abc import Iterator

from affiant.cli.diagnosis.checkup.credentials import validity
from affiant.cli.diagnosis.checkup.finding import BAD, GOOD, WARNING, Finding
from affiant.cli.diagnosis.checkup.installation.inspected import Installation
from affiant.errors import ConfigError
from affiant.oauth.binding import mtls
from affiant.server import settings
from affiant.server.keys import key_source
from affiant.system.text import one_line
from affiant.system.urls import LOOPBACK

_FEW_VALUES = 12  # of 256 in 32 random bytes; fewer than that come with a probability below 2^-50
_NAME_IT = "AFFIANT_TRUSTED_PROXIES=ADDRESS of the proxy"
_UNLIMITED = ("failure_burst", "token_burst")


def master_key(found: Installation) -> Iterator[Finding]:
    """It can be read, by the server alone, and is random."""
    folder, named = found.chosen.data, found.chosen.master_key_file
    if not found.has_data:
        return
    try:
        source = key_source.find(folder, named)
        material = key_source.read(source)
    except ConfigError as error:
        yield Finding("master key", BAD, one_line(error), "give one source: docs/how-to/master-key.md")
        return
    if len(set(material)) < _FEW_VALUES:
        text = f"the key of {source.shown} is not random: an attacker who guesses it can read every secret"
        yield Finding("master key", BAD, text, "affiant master-key rotate")
    else:
        mode = f", mode {stat.S_IMODE(source.path.stat().st_mode):04o}" if source.path is not None else ""
        yield Finding("master key", GOOD, f"from {source.shown}{mode}")
    unused = folder / key_source.FILE_NAME
    if not source.is_default and unused.exists():
        text = f"{unused} is not used, since {source.name} is given"
        yield Finding("master key", WARNING, text, f"move {shlex.quote(str(unused))} to where you keep its copies")


def weak_settings(found: Installation) -> Iterator[Finding]:
    """No setting weakens the server."""
    chosen = found.chosen
    faults = [
        Finding("settings", WARNING, warning, "affiant settings  shows where each is set")
        for warning in (*settings.warnings_of_names(), *chosen.warnings)
    ]
    faults += [
        Finding("settings", WARNING, f"{name} = 0: a flood has no limit", f"remove {name}, or set it to a number")
        for name in _UNLIMITED
        if getattr(chosen, name) == 0
    ]
    if chosen.host not in LOOPBACK and chosen.tls_cert is None and not chosen.forwarding:
        text = f"it listens on {chosen.host} without TLS, and trusted_proxies names no proxy that terminates it"
        faults.append(Finding("settings", WARNING, text, f"{_NAME_IT}, or --tls-cert, or --host 127.0.0.1"))
    elif (chosen.issuer or "").startswith("https://") and chosen.tls_cert is None and not chosen.forwarding:
        text = "a proxy terminates TLS, and trusted_proxies does not name it: the proxy's address gets all failures"
        faults.append(Finding("settings", WARNING, text, _NAME_IT))
    yield from faults
    if not faults:
        yield Finding("settings", GOOD, "none weakens the server")


def own_certificate(found: Installation) -> Iterator[Finding]:
    """The certificate that this server shows fits its key, and is valid for a while."""
    certificate, key = found.chosen.tls_cert, found.chosen.tls_key
    if certificate is None or key is None:
        return
    fix = "renew it, and restart the server"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
        content = mtls.parse_pem(certificate.read_text("ascii")).content
    except (OSError, ValueError, ConfigError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or "it is not PEM"
        yield Finding("certificate", BAD, f"{certificate} cannot be used: {why}", fix)
        return
    if content.not_valid_before_utc.timestamp() > time.time():
        yield Finding("certificate", BAD, f"{certificate} is not valid yet", fix)
        return
    yield validity("certificate", content.not_valid_after_utc.timestamp(), fix)
