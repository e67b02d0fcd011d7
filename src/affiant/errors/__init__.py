"""The exceptions of affiant.

Error:
├── ConfigError     a setting, file or option is wrong; nothing was done
├── StoreError      the store failed; answered with 503
│   └── SignerError the signing key cannot be used now; answered with 503
├── Rejected        a request is rejected, with a reason of reasons.py
├── LocalError      client: a request is impossible; nothing was sent
└── RemoteError     client: the server failed, or its response cannot be used
    ├── Unreachable no response came: network, name, port or certificate
    └── Refused     the authorization server answered with an OAuth error
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the client raises none of them, and does not wait for the list
    from affiant.errors.reasons import Reason


class Error(Exception):
    """The base class of all exceptions that affiant raises on purpose."""


class ConfigError(Error):
    """A setting, a file or an option is wrong; the message says what to change."""


class StoreError(Error):
    """The store did not answer or did not commit. Nothing is issued (503)."""


class SignerError(StoreError):
    """The signer is unreachable or no longer has the key. Nothing is issued (503)."""


class LocalError(Error):
    """A request by the SDK is impossible. Nothing was sent."""


class RemoteError(Error):
    """The server failed, or its response cannot be used.

    Attributes:
        retry_after: seconds for which the server asked to be left alone (RFC 9110 section 10.2.3), or None.
    """

    retry_after: float | None = None


class Unreachable(RemoteError):
    """No response came: network, name resolution, port or certificate."""


class Refused(RemoteError):
    """The authorization server answered with an error of RFC 6749 section 5.2.

    Attributes:
        error: the code, such as ``invalid_client``.
        description: the server's sentence, with control characters escaped.
        trace_id: for the operator, who can look it up (``affiant explain``).
        status: the HTTP status.
        error_uri: the page that explains the error, if the server named one.
        hint: where the server says no more: what was sent, what its metadata list, and the likely remedy, in lines.
    """

    def __init__(
        self,
        error: str,
        *,
        description: str = "",
        trace_id: str | None = None,
        status: int = 400,
        error_uri: str | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(error, description)
        self.error = error
        self.description = description
        self.trace_id = trace_id
        self.status = status
        self.error_uri = error_uri
        self.hint = hint

    def __str__(self) -> str:
        trace = f" (trace {self.trace_id})" if self.trace_id else ""
        said = f"{self.error}: {self.description}{trace}" if self.description else f"{self.error}{trace}"
        return f"{said}\n{self.hint}" if self.hint else said


class Rejected(Error):
    """A refusal.

    Attributes:
        reason: why, from the closed list.
        expected: what would have been accepted, as text.
        got: the rejected value, as text; never a secret, a signature or a whole token.
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
