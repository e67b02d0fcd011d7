"""The sinks that the settings name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from affiant.errors import ConfigError
from affiant.server.request.audit.sinks.file import FileSink
from affiant.server.request.audit.sinks.sink import Sink
from affiant.server.request.audit.sinks.syslog import SyslogSink, parse_receiver
from affiant.server.request.audit.sinks.webhook import WebhookSink, parse_secret

SECRET = "AFFIANT_AUDIT_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable


NAMES = ("audit_file", "audit_syslog", "audit_webhook")  # of the settings, and of the sinks


class Chosen(Protocol):
    """The settings of sinks."""

    @property
    def audit_file(self) -> Path | None: ...
    @property
    def audit_syslog(self) -> str | None: ...
    @property
    def audit_webhook(self) -> str | None: ...
    @property
    def audit_webhook_secret_file(self) -> Path | None: ...


def sinks(chosen: Chosen) -> list[Sink]:
    """Return a sink for each setting that names one.

    Raises:
        ConfigError: the webhook has no secret, or its file cannot be read.
    """
    found: list[Sink] = []
    if chosen.audit_file is not None:
        found.append(FileSink(chosen.audit_file))
    if chosen.audit_syslog is not None:
        found.append(SyslogSink(parse_receiver(chosen.audit_syslog)))
    if chosen.audit_webhook is not None:
        found.append(WebhookSink(chosen.audit_webhook, _secret(chosen.audit_webhook_secret_file)))
    return found


def _secret(file: Path | None) -> bytes:
    if file is None:
        text = os.environ.get(SECRET, "")
        if not text:
            raise ConfigError(f"audit_webhook needs a secret: set audit_webhook_secret_file, or {SECRET}")
        return parse_secret(text)
    try:
        return parse_secret(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(f"audit_webhook_secret_file {file} cannot be read ({why})") from error
