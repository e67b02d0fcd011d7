"""Sessions: a cookie with 256 random bits, of which the store has only a keyed digest."""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import base64url
from affiant.server.admin.roles import Principal, Role
from affiant.server.admin.routes.users import rules
from affiant.server.console.origins import Origins
from affiant.server.keys.master_key import MasterKey
from affiant.server.request import http
from affiant.storage.ports import Audit, Store
from affiant.storage.records import Passkey, Session, SignInLink, UsedChallenge
from affiant.system.values import Value

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_MAX_AGENT = 200  # characters
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


class Visitor(Value, frozen=True):
    """A user of the console, in one session."""

    HIDDEN = frozenset({"csrf"})

    name: str
    role: Role
    teams: frozenset[str] | None  # whose clients, APIs and trusts it sees and changes; None for all
    session: str  # the id, which is not secret
    csrf: str  # a digest of the session's secret, for the forms of its pages
    by_link: bool = False  # whether the session began with a link, not with a passkey

    @property
    def principal(self) -> Principal:
        """The caller of the admin API."""
        return Principal(rules.caller(self.name), self.role, is_user=True, teams=self.teams)

    def check_csrf(self, given: str | None) -> None:
        """Raise ADMIN_CSRF unless this is the token of the session."""
        if given is None or not hmac.compare_digest(given.encode("utf-8", "replace"), self.csrf.encode()):
            raise Rejected(Reason.ADMIN_CSRF)


class Sessions:
    """The sessions of one server: `store` keeps digests of their secrets under `master_key`."""

    def __init__(self, store: Store, master_key: MasterKey, origins: Origins) -> None:
        self._store = store
        self._key = master_key
        # With the prefix, browsers refuse a cookie of this name from another host, and from http (RFC 6265bis 4.1.3.2).
        # Not on http://localhost, whose cookies may not be Secure in Safari. Browsers send a cookie to every port of
        # its host, so the port is in the name: two servers on one machine would replace each other's.
        self._name = "__Host-affiant" if origins.is_secure else f"affiant-{origins.port}"
        self._attributes = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if origins.is_secure else "")

    async def find(self, scope: http.Scope, now: float, *, is_use: bool = True) -> Visitor | None:
        """Return the visitor whose cookie came with this request; None without one, or if the session has ended.

        Without `is_use` the session grows no younger: an open page keeps no user signed in.
        """
        secret = self._read(scope)
        if secret is None:
            return None
        session = await self._store.sessions.find(rules.session_id(self._key, secret))
        if session is None or rules.is_over(session, now):
            return None
        # Read with each request, so that a role or a user that was taken away is gone at once.
        user = await self._store.users.find(session.username)
        if user is None or not user.enabled:
            return None
        if is_use and now - session.last_at >= rules.NOTED_SECONDS:
            await self._store.sessions.touch(session.id, int(now))
        role = Role(user.role)
        teams = frozenset(user.teams) if user.teams and role is not Role.OWNER else None
        return Visitor(user.name, role, teams, session.id, self._csrf(secret), by_link=session.passkey is None)

    async def begin_with_link(self, link: SignInLink, scope: http.Scope, now: float, audit: Audit) -> bytes:
        """Take the link and begin a session; return the Set-Cookie.

        Raises:
            NotFound: the link was taken, replaced or has expired, or the user is disabled.
        """

        async def begin(session: Session) -> None:
            await self._store.sessions.begin_with_link(session, link.id, audit=audit)

        return await self._begin(link.username, None, begin, scope, now)

    async def begin_with_passkey(
        self, passkey: Passkey, challenge: UsedChallenge, scope: http.Scope, now: float, audit: Audit
    ) -> bytes:
        """Begin a session by an answer of this passkey, with its new count; return the Set-Cookie.

        Raises:
            NotFound: the passkey was removed, or the user is disabled.
            AlreadyExists: the challenge was answered before.
            Cloned: the count is not higher than the last one.
        """

        async def begin(session: Session) -> None:
            await self._store.sessions.begin_with_passkey(session, passkey.sign_count, challenge, audit=audit)

        return await self._begin(passkey.username, passkey.id, begin, scope, now)

    async def end(self, scope: http.Scope, now: float, audit: Audit) -> bytes:
        """End the session of this request, if it has one; return the Set-Cookie that removes the cookie."""
        visitor = await self.find(scope, now)
        if visitor is not None:
            await self._store.sessions.end(visitor.session, audit=audit)
        return f"{self._name}={self._attributes}; Max-Age=0".encode()

    async def _begin(
        self,
        username: str,
        passkey: str | None,
        begin: Callable[[Session], Awaitable[None]],
        scope: http.Scope,
        now: float,
    ) -> bytes:
        # Attack: session fixation. Each sign-in has a new secret, whatever cookie came; and the session that this
        # browser had before ends, so that no forgotten one is left.
        secret, before = rules.new_secret(), await self.find(scope, now)
        at = int(now)
        await begin(
            Session(
                id=rules.session_id(self._key, secret),
                username=username,
                created_at=at,
                last_at=at,
                expires_at=at + rules.LONGEST_SECONDS,
                address=scope["client"][0] if scope.get("client") else "",
                agent=_agent(scope),
                passkey=passkey,
            )
        )
        if before is not None:
            await self._store.sessions.end(before.session)
        return f"{self._name}={secret}{self._attributes}".encode()

    def _read(self, scope: http.Scope) -> str | None:
        """Return the one secret of this name; of two, one may be an attacker's."""
        pairs = [
            pair.partition("=") for each in http.header(scope, b"cookie") for pair in each.decode("latin-1").split(";")
        ]
        found = [value.strip() for name, _, value in pairs if name.strip() == self._name]
        return found[0] if len(found) == 1 and _SECRET.fullmatch(found[0]) else None

    def _csrf(self, secret: str) -> str:
        return base64url.encode(self._key.digest(f"console csrf {secret}"))


def _agent(scope: http.Scope) -> str:
    text = b" ".join(http.header(scope, b"user-agent")).decode("latin-1")
    return _UNPRINTABLE.sub("?", text)[:_MAX_AGENT]
