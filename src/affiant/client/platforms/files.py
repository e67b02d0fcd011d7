"""Tokens that the platform puts into a file or a variable: Kubernetes, GitLab, and any program that rotates a file."""

from __future__ import annotations

import os
import re
from pathlib import Path

from affiant.client.platforms.claims import MAX_BYTES
from affiant.client.platforms.failure import PlatformError
from affiant.system.text import printable

KUBERNETES = "/var/run/secrets/tokens/affiant"
_PROJECTION = (
    "project one into the pod: volumes: [{name: tokens, projected: {sources: [{serviceAccountToken: {path: affiant,"
    " audience: AUDIENCE, expirationSeconds: 3600}}]}}], mounted at /var/run/secrets/tokens"
)


def kubernetes(audience: str, where: str) -> str:
    """Return the projected service account token, as it is in the file now."""
    return read(where or KUBERNETES, who="kubernetes", advice=_PROJECTION.replace("AUDIENCE", audience))


def file(audience: str, where: str) -> str:  # noqa: ARG001 - every platform has both
    """Return the content of the file, as it is now."""
    if not where:
        raise PlatformError("file: the path is missing: write file:PATH")
    return read(where, who="file", advice="is it the path that the platform writes to?")


def variable(audience: str, where: str) -> str:  # noqa: ARG001 - every platform has both
    """Return the value of a variable."""
    if not where:
        raise PlatformError("env: the name is missing: write env:NAME")
    return _given(where, who="env", advice="does the platform set it for this process?")


def gitlab(audience: str, where: str) -> str:
    """Return the job's ID token for this audience: one for the whole job."""
    name = where or f"{re.sub(r'[^A-Z0-9]', '_', audience.upper())}_ID_TOKEN"
    lines = f"id_tokens:\n    {name}:\n      aud: {audience}"
    return _given(name, who="gitlab", advice=f"add to the job:\n  {lines}")


def read(path: str, *, who: str, advice: str) -> str:
    """Return the text of a token file, without the line end that some programs write."""
    try:
        with Path(path).open("rb") as opened:
            content = opened.read(MAX_BYTES + 2)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not the name of a file"
        raise PlatformError(f"{who}: {printable(path, 200)} cannot be read ({why}): {advice}") from None
    return _text(content, who=who, what=printable(path, 200))


def _given(name: str, *, who: str, advice: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise PlatformError(f"{who}: the variable {printable(name, 200)} is not set: {advice}")
    return _text(os.fsencode(value), who=who, what=printable(name, 200))


def _text(content: bytes, *, who: str, what: str) -> str:
    text = content.strip()
    if not text:
        raise PlatformError(f"{who}: {what} is empty")
    if len(text) > MAX_BYTES or not text.isascii():
        raise PlatformError(f"{who}: {what} has no token in it")
    return text.decode("ascii")
