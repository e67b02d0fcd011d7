"""Everything that affiant raises on purpose.

Error:
├── ConfigError     the operator's settings, files or options; nothing was done
├── StoreError      the store cannot take or give what was asked; answered 503
│   └── SignerError the key that should sign cannot be used now; answered 503
├── Rejected        a refusal, with one reason of the closed list in reasons.py
├── LocalError      client side: what you asked for was wrong; nothing was sent
└── RemoteError     client side: the other party failed, or answered nonsense
    ├── Unreachable the network, a name, a port, a certificate
    └── Refused     the authorization server answered with an OAuth error
"""

from __future__ import annotations

from affiant.reasons import Reason


class Error(Exception):
    """The root: catch it to catch all that affiant raises on purpose."""


class ConfigError(Error):
    """A setting, a file or an option is wrong; the message says what to change."""


class StoreError(Error):
    """The store did not answer or did not commit. Nothing may be issued (503)."""


class SignerError(StoreError):
    """What has the private part of a signing key did not answer, or does not have it. Nothing may be issued (503)."""


class LocalError(Error):
    """What the caller of the SDK asked for cannot be sent; nothing left this machine."""


class RemoteError(Error):
    """The other party failed, or its answer cannot be used."""


class Unreachable(RemoteError):
    """No answer came: network, name resolution, port or certificate."""


class Refused(RemoteError):
    """The authorization server answered with an error of RFC 6749 section 5.2.

    Attributes:
        error: the code, such as ``invalid_client``.
        description: the server's sentence, with control characters escaped.
        trace_id: what to give the operator, who can look it up.
        status: the HTTP status.
        error_uri: the page that explains the error, if the server named one.
    """

    def __init__(
        self,
        error: str,
        *,
        description: str = "",
        trace_id: str | None = None,
        status: int = 400,
        error_uri: str | None = None,
    ) -> None:
        super().__init__(error, description)
        self.error = error
        self.description = description
        self.trace_id = trace_id
        self.status = status
        self.error_uri = error_uri

    def __str__(self) -> str:
        trace = f" (trace {self.trace_id})" if self.trace_id else ""
        return f"{self.error}: {self.description}{trace}" if self.description else f"{self.error}{trace}"


class Rejected(Error):
    """A refusal.

    Attributes:
        reason: why, from the closed list.
        expected: what would have been accepted, as text.
        got: what came, as text; never a secret, a signature or a whole token.
        detail: for the audit log only.
    """

    def __init__(self, reason: Reason, *, expected: str = "", got: str = "", detail: str = "") -> None:
        super().__init__(reason, expected, got, detail)
        self.reason = reason
        self.expected = expected
        self.got = got
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason.code}: {self.reason.value.sentence}"
