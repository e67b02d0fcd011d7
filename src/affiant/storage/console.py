"""The users of the console: their passkeys, sessions and links. No process caches them, so they change no version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from affiant.errors import Error
from affiant.storage.records import NotFound, Passkey, Session, SignInLink, UsedChallenge, User
from affiant.storage.registry import (
    Audit,
    Condition,
    Drop,
    Get,
    OnTables,
    Put,
    Records,
    Registry,
    Rows,
    Steps,
    Table,
    Tables,
    Write,
    check_free,
    require,
    save,
)

MAX_SESSIONS = 10  # of a user; the one that was used least recently ends when another begins
MAX_PASSKEYS = 10  # of a user

USERS = Table("console_user", "name", User, title="user named", is_cached=False)
PASSKEYS = Table("passkey", "id", Passkey, title="passkey", copied=("username",), is_cached=False)
SESSIONS = Table("console_session", "id", Session, title="session", copied=("username",), is_cached=False)
LINKS = Table("sign_in_link", "id", SignInLink, title="sign-in link", copied=("username",), is_cached=False)
CHALLENGES = Table("used_challenge", "id", UsedChallenge, title="challenge", is_cached=False)


class TooMany(Error):
    """The user has as many passkeys as a user may have."""


class Cloned(Error):
    """The authenticator counted less than before: another one has the same key (WebAuthn section 6.1.1)."""


class Users(Records[User]):
    """The users of the console, by name."""

    _table = USERS

    async def find(self, name: str) -> User | None:
        """The user of this name, enabled or not."""
        return await self._tables.get(Get(USERS, name))

    async def update(
        self,
        key: str,
        change: Callable[[User], User],
        *,
        audit: Audit | None = None,
        condition: Condition | None = None,
    ) -> User:
        """Replace a user by what `change` returns; the sessions and links of one that is disabled end in the commit.

        Raises:
            NotFound: there is no such user.
        """

        def steps() -> Steps[User]:
            before = yield from require(USERS, key)
            after = change(before)
            yield from self._judge(before, after)
            if condition is not None:
                yield from condition(before, after)
            ended = [] if after.enabled else (yield from _owned(key, SESSIONS, LINKS))
            yield from save([*ended, Put(USERS, key, after)], audit, (before, after))
            return after

        return await self._tables.change(steps)

    async def remove(self, key: str, *, audit: Audit | None = None, condition: Condition | None = None) -> None:
        """Remove a user with its passkeys, sessions and links, in one commit.

        Raises:
            NotFound: there is no such user.
        """

        def steps() -> Steps[None]:
            before = yield from require(USERS, key)
            if condition is not None:
                yield from condition(before, None)
            ended = yield from _owned(key, SESSIONS, LINKS, PASSKEYS)
            yield from save([*ended, Drop(USERS, key)], audit, (before, None))

        await self._tables.change(steps)


class SignInLinks(OnTables):
    """Links with which users sign in; `Sessions.begin` takes one."""

    async def find(self, id: str) -> SignInLink | None:  # noqa: A002 - its name
        """The unused link of this id, expired or not."""
        return await self._tables.get(Get(LINKS, id))

    async def add(self, link: SignInLink, *, audit: Audit | None = None) -> None:
        """Keep a new link; it replaces those that the user had.

        Raises:
            NotFound: there is no such user, or it is disabled.
        """

        def steps() -> Steps[None]:
            yield from _enabled(link.username)
            old: list[SignInLink] = yield Rows(LINKS)
            ended = [Drop(LINKS, row.id) for row in old if link.username == row.username or _is_over(row, link)]
            yield from save([*ended, Put(LINKS, link.id, link)], audit, (None, link))

        await self._tables.change(steps)


class Passkeys(OnTables):
    """The passkeys of all users, by the id of the credential."""

    async def find(self, id: str) -> Passkey | None:  # noqa: A002 - its name
        """The passkey of this id."""
        return await self._tables.get(Get(PASSKEYS, id))

    async def list(self, username: str) -> list[Passkey]:
        """The passkeys of this user."""
        return await self._tables.rows(Rows(PASSKEYS, of=username))

    async def add(self, passkey: Passkey, challenge: UsedChallenge, *, audit: Audit | None = None) -> None:
        """Keep a new passkey, which answered this challenge.

        Raises:
            NotFound: there is no such user, or it is disabled.
            AlreadyExists: the passkey is registered, or the challenge was answered before.
            TooMany: the user has MAX_PASSKEYS.
        """

        def steps() -> Steps[None]:
            yield from _enabled(passkey.username)
            yield from check_free(PASSKEYS, passkey)
            used = yield from _use(challenge, passkey.created_at)
            others: list[Passkey] = yield Rows(PASSKEYS, of=passkey.username)
            if len(others) >= MAX_PASSKEYS:
                raise TooMany(f"{passkey.username} has {MAX_PASSKEYS} passkeys: remove one first")
            yield from save([*used, Put(PASSKEYS, passkey.id, passkey)], audit, (None, passkey))

        await self._tables.change(steps)

    async def rename(self, id: str, label: str, *, audit: Audit | None = None) -> Passkey:  # noqa: A002 - its name
        """Give a passkey another label.

        Raises:
            NotFound: there is no such passkey.
        """

        def steps() -> Steps[Passkey]:
            before = yield from require(PASSKEYS, id)
            after = replace(before, label=label)
            yield from save([Put(PASSKEYS, id, after)], audit, (before, after))
            return after

        return await self._tables.change(steps)

    async def remove(self, id: str, *, audit: Audit | None = None) -> None:  # noqa: A002 - its name
        """Remove a passkey; the sessions that it began end in the same commit.

        Raises:
            NotFound: there is no such passkey.
        """

        def steps() -> Steps[None]:
            before = yield from require(PASSKEYS, id)
            sessions: list[Session] = yield Rows(SESSIONS, of=before.username)
            ended = [Drop(SESSIONS, row.id) for row in sessions if row.passkey == id]
            yield from save([*ended, Drop(PASSKEYS, id)], audit, (before, None))

        await self._tables.change(steps)


class Sessions(OnTables):
    """The sessions of users."""

    async def find(self, id: str) -> Session | None:  # noqa: A002 - its name
        """The session of this id, expired or not."""
        return await self._tables.get(Get(SESSIONS, id))

    async def list(self, username: str | None = None) -> list[Session]:
        """The sessions of this user, or of all."""
        return await self._tables.rows(Rows(SESSIONS, of=username))

    async def begin_with_link(self, session: Session, link: str, *, audit: Audit | None = None) -> None:
        """Keep a new session and take the link of this id. Of any number that take one link at once, one succeeds.

        Raises:
            NotFound: the link was taken, replaced or has expired, or the user is disabled.
        """

        def steps() -> Steps[None]:
            taken = yield from require(LINKS, link)
            if taken.username != session.username or taken.expires_at <= session.created_at:
                raise NotFound("the link has expired")
            yield from _begin(session, [Drop(LINKS, link)], audit)

        await self._tables.change(steps)

    async def begin_with_passkey(
        self, session: Session, sign_count: int, challenge: UsedChallenge, *, audit: Audit | None = None
    ) -> None:
        """Keep a new session, by an answer of `session.passkey` to this challenge; the passkey notes its use.

        Raises:
            NotFound: there is no such passkey of this user, or the user is disabled.
            AlreadyExists: the challenge was answered before.
            Cloned: the count is not higher than the last one.
        """

        def steps() -> Steps[None]:
            passkey = yield from require(PASSKEYS, session.passkey or "")
            if passkey.username != session.username:
                raise NotFound("the passkey is another user's")
            used = yield from _use(challenge, session.created_at)
            if sign_count <= passkey.sign_count and (sign_count or passkey.sign_count):
                raise Cloned(f"the passkey {passkey.id} counted {sign_count} after {passkey.sign_count}")
            noted = replace(passkey, sign_count=sign_count, last_used_at=session.created_at)
            yield from _begin(session, [*used, Put(PASSKEYS, passkey.id, noted)], audit)

        await self._tables.change(steps)

    async def touch(self, id: str, now: int) -> None:  # noqa: A002 - its name
        """Note a request; nothing if the session has ended by then."""

        def steps() -> Steps[None]:
            found: Session | None = yield Get(SESSIONS, id)
            if found is not None and found.last_at < now:
                yield Put(SESSIONS, id, replace(found, last_at=now))

        await self._tables.change(steps)

    async def end(self, *ids: str, audit: Audit | None = None) -> None:
        """End these sessions, in one commit; one that has ended by then stays ended."""

        def steps() -> Steps[None]:
            found: list[Session] = []
            for id in ids:  # noqa: A001 - its name
                row: Session | None = yield Get(SESSIONS, id)
                found += [row] if row is not None else []
            yield from save([Drop(SESSIONS, row.id) for row in found], audit, *((row, None) for row in found))

        await self._tables.change(steps)


class RegistryAndUsers(Registry):
    """The ports of storage/registry and of this module; every store has them."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self.users: Users = Users(tables)
        self.passkeys: Passkeys = Passkeys(tables)
        self.sessions: Sessions = Sessions(tables)
        self.sign_in_links: SignInLinks = SignInLinks(tables)


def _begin(session: Session, proved: Sequence[Write], audit: Audit | None) -> Steps[None]:
    """Put the session in the place of those that are over and, beyond the limit, the one used least recently."""
    yield from _enabled(session.username)
    yield from check_free(SESSIONS, session)
    every: list[Session] = yield Rows(SESSIONS)
    over = [row for row in every if row.expires_at <= session.created_at]
    mine = sorted((row for row in every if row.username == session.username and row not in over), key=_last)
    over += mine[: max(0, len(mine) - MAX_SESSIONS + 1)]
    ended = [Drop(SESSIONS, row.id) for row in over]
    yield from save([*proved, *ended, Put(SESSIONS, session.id, session)], audit, (None, session))


def _last(session: Session) -> int:
    return session.last_at


def _use(challenge: UsedChallenge, now: int) -> Steps[list[Write]]:
    """Return what makes the challenge used, and forgets those that have expired."""
    yield from check_free(CHALLENGES, challenge)
    if challenge.expires_at <= now:
        raise NotFound("the challenge has expired")
    old: list[UsedChallenge] = yield Rows(CHALLENGES)
    forgotten = [Drop(CHALLENGES, row.id) for row in old if row.expires_at <= now]
    return [*forgotten, Put(CHALLENGES, challenge.id, challenge)]


def _enabled(username: str) -> Steps[None]:
    user = yield from require(USERS, username)
    if not user.enabled:
        raise NotFound(f"the user {username} is disabled")


def _owned(username: str, *tables: Table[Session] | Table[SignInLink] | Table[Passkey]) -> Steps[list[Write]]:
    """Return what removes the records of a user."""
    found: list[Write] = []
    for table in tables:
        rows: Iterable[Session | SignInLink | Passkey] = yield Rows(table, of=username)
        found += [Drop(table, row.id) for row in rows]
    return found


def _is_over(old: SignInLink, new: SignInLink) -> bool:
    return old.expires_at <= new.created_at
