"""How long links and sessions of the console last, and the digests by which the store knows them."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from affiant.jose import base64url
from affiant.server.keys.master_key import MasterKey
from affiant.storage.records import Session, SignInLink
from affiant.system.urls import LOOPBACK, PORTS, join_host

PAGE = "/console/sign-in"  # below the issuer
LINK_SECONDS = 900
MAX_LINK_SECONDS = 86_400
IDLE_SECONDS = 3600
LONGEST_SECONDS = 12 * 3600
# A request is noted once in these seconds: a page view must not be a write. So a session may end that much early.
NOTED_SECONDS = 300
_BYTES = 32
_USER = "user:"


def caller(username: str) -> str:
    """Return the name by which the admin API and the audit log know a user of the console."""
    return f"{_USER}{username}"


def username(caller: str) -> str:
    """Return the user who calls, or a text that names no user."""
    return caller.removeprefix(_USER)


def new_secret() -> str:
    """Return 256 random bits, as text."""
    return base64url.encode(secrets.token_bytes(_BYTES))


def link_id(master_key: MasterKey, token: str) -> str:
    """Return the id by which the store knows the link with this token."""
    return master_key.digest(f"console link {token}").hex()


def session_id(master_key: MasterKey, secret: str) -> str:
    """Return the id by which the store knows the session with this cookie."""
    return master_key.digest(f"console session {secret}").hex()


def make_link(master_key: MasterKey, username: str, *, now: int, seconds: int) -> tuple[SignInLink, str]:
    """Return a new link, not stored yet, and its token."""
    token = new_secret()
    return SignInLink(link_id(master_key, token), username, now, now + seconds), token


def link_url(issuer: str, token: str) -> str:
    """Return the address to open; the fragment is in no log, no Referer and no request.

    On loopback it names localhost: a passkey is of a host name, and of no address (WebAuthn section 5.1.2).
    """
    parts = urlsplit(issuer)
    if parts.hostname not in LOOPBACK:
        return f"{issuer}{PAGE}#{token}"
    port = parts.port or PORTS[parts.scheme]
    return f"{parts.scheme}://{join_host('localhost', port)}{parts.path}{PAGE}#{token}"


def is_over(session: Session, now: float) -> bool:
    """Whether the session has expired or was not used for too long."""
    # Attack: a clock that ran ahead and was set back must not prolong a session.
    return not (session.created_at - NOTED_SECONDS <= now < min(session.expires_at, session.last_at + IDLE_SECONDS))
