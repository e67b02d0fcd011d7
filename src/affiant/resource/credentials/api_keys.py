"""API keys that a guard takes while clients move to access tokens."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256
from threading import Lock
from typing import ClassVar, Literal

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.oauth.parameters import scope
from affiant.resource.caller import Caller
from affiant.system.values import Value

log: logging.Logger = logging.getLogger(__name__)

Way = Literal["key", "token", "both", "refused"]
LONGEST_KEY = 4096  # bytes
SHORTEST_SECRET = 16  # bytes
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z-]+")  # without the underscore, which WSGI takes for a hyphen
_SCHEMES = (b"bearer ", b"dpop ")


class ApiKey(Value, frozen=True):
    """An API key that a client has.

    Attributes:
        client_id: the client, by the name that its access tokens have: the API sees one caller, whatever it sends.
        digest: SHA-256 of the key, in hexadecimal; with `secret` its HMAC-SHA-256. `digest_of` makes it.
        scope: what requests with this key may do; scopes separated by spaces.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"digest"})

    client_id: str
    digest: str
    scope: str = ""


class Use(Value, frozen=True):
    """The requests of a client of the table that authenticated in one way, in this process.

    Attributes:
        client_id: the client.
        way: ``key``, ``token``, ``both`` (the token decided) or ``refused``.
        requests: since the process started.
        last: when the last one came; seconds since the epoch.
    """

    client_id: str
    way: Way
    requests: int
    last: float


def digest_of(key: str | bytes, *, secret: bytes | None = None) -> str:
    """Return what `ApiKey.digest` has of a key: in hexadecimal SHA-256, or with `secret` HMAC-SHA-256."""
    text = key.encode() if isinstance(key, str) else key
    return hmac.digest(secret, text, "sha256").hex() if secret is not None else sha256(text).hexdigest()


class ApiKeys:
    """The API keys that a guard takes next to access tokens: ``Guard(..., api_keys=ApiKeys([...], until=...))``.

    A request with an access token is judged by the token alone, also if it carries a key: an invalid token is refused.

    Args:
        keys: the keys, by their digests; a client may have several.
        header: of the request, with the key alone as its value.
        secret: at least 16 secret bytes if the digests are HMAC-SHA-256. Keys that people chose need it: the SHA-256 of
            a short key can be found by trying.
        only_token: the client_ids whose keys are refused. It is looked at for each request, so a set that the API
            changes counts at once.
        until: the time from which every key is refused, with its time zone.
        page: the URL of a page for clients about the move. Refusals of keys, and answers to them, have it.
        on_use: is called for each request of a client in `keys`, with its client_id and the way. It must not block, and
            what it raises is only logged.

    Raises:
        ConfigError: a digest, a scope, `header`, `secret`, `until` or `page` is invalid, or two keys have one digest.
    """

    def __init__(
        self,
        keys: Iterable[ApiKey],
        *,
        header: str = "X-Api-Key",
        secret: bytes | None = None,
        only_token: Collection[str] = (),
        until: datetime | None = None,
        page: str | None = None,
        on_use: Callable[[str, Way], object] | None = None,
    ) -> None:
        self.page: str | None = _checked_page(page)
        self.header: str = _checked_header(header)
        if secret is not None and len(secret) < SHORTEST_SECRET:
            raise ConfigError(f"secret= must have at least {SHORTEST_SECRET} bytes")
        if isinstance(only_token, str):
            raise ConfigError("only_token= must be a collection of client_ids, such as a set, not a str")
        if until is not None and until.tzinfo is None:
            raise ConfigError("until= needs a time zone: datetime(2027, 3, 1, tzinfo=UTC)")
        self._secret, self._only_token, self._on_use = secret, only_token, on_use
        self._until = until
        self._blind = secrets.token_bytes(32)
        self._keys = dict(self._rows(keys))
        self._notices = _notices(until, self.page)
        self._clients = {key.client_id for key, _ in self._keys.values()}
        for name in sorted(set(only_token) - self._clients):
            log.warning("only_token= has %s, of which the table has no key: is it misspelt?", name)
        self._uses = dict[tuple[str, Way], tuple[int, float]]()
        self._lock = Lock()

    def usage(self) -> list[Use]:
        """Return how each client authenticated in this process: which ones still send a key, and when they last did."""
        with self._lock:
            found = sorted(self._uses.items())
        return [Use(client_id, way, *counted) for (client_id, way), counted in found]

    def values(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, ...]:
        """Return every value of the header with the key."""
        header = self.header.encode()
        return tuple(value for name, value in headers if name == header)

    @staticmethod
    def way(values: Sequence[bytes], authorization: Sequence[bytes]) -> Way | None:
        """Return what a request has: ``key``, ``token``, ``both``, or None."""
        if any(one.lower().startswith(_SCHEMES) for one in authorization):
            return "both" if values else "token"
        return "key" if values else None

    def admit(
        self, values: Sequence[bytes], authorization: Sequence[bytes], *, issuer: str, now: float
    ) -> Caller | None:
        """Return the caller with this key; None where a token decides, or where there is no key.

        Raises:
            Rejected: TOKEN_API_KEY, or TOKEN_API_KEY_ENDED where the client must use tokens by now.
        """
        # Attack: a revoked token comes with a key, which would still open. A token decides alone.
        if self.way(values, authorization) != "key":
            return None
        if len(values) > 1 or not 0 < len(values[0]) <= LONGEST_KEY:
            raise Rejected(Reason.TOKEN_API_KEY, detail="not one key")
        key, scopes = self._find(values[0])
        if self._is_ended(key.client_id, now):
            self.count(key.client_id, "refused", now)
            raise Rejected(Reason.TOKEN_API_KEY_ENDED, detail=f"client {key.client_id}")
        self.count(key.client_id, "key", now)
        claims = {"iss": issuer, "sub": key.client_id, "client_id": key.client_id, "scope": key.scope}
        return Caller(key.client_id, key.client_id, scopes, "", claims, notices=self._notices)

    def count(self, client_id: str, way: Way, now: float) -> None:
        """Count a request of a client, if it is one of the table: a stranger grows nothing."""
        if client_id not in self._clients:
            return
        with self._lock:
            before, _ = self._uses.get((client_id, way), (0, 0.0))
            self._uses[client_id, way] = before + 1, now
        if not before:
            log.info("client %s: first request in this process by %s", client_id, way)
        if self._on_use is not None:
            try:
                self._on_use(client_id, way)
            except Exception:  # a metric must not decide about a request
                log.exception("on_use of the API keys failed")

    def _find(self, value: bytes) -> tuple[ApiKey, frozenset[str]]:
        """Return the row of a key.

        Attack: the time of a comparison shows how much of a digest is right. The table has the digests under a key of
        this process alone, so no sender knows what is compared; the digest itself is compared in constant time.
        """
        digest = digest_of(value, secret=self._secret)
        found = self._keys.get(self._blinded(digest))
        if found is None or not hmac.compare_digest(found[0].digest, digest):
            raise Rejected(Reason.TOKEN_API_KEY, detail="unknown")
        return found

    def _is_ended(self, client_id: str, now: float) -> bool:
        return client_id in self._only_token or (self._until is not None and now >= self._until.timestamp())

    def _blinded(self, digest: str) -> bytes:
        return hmac.digest(self._blind, digest.encode(), "sha256")

    def _rows(self, keys: Iterable[ApiKey]) -> Iterable[tuple[bytes, tuple[ApiKey, frozenset[str]]]]:
        seen = set[str]()
        for key in keys:
            if not _DIGEST.fullmatch(key.digest):
                raise ConfigError(f"the digest of a key of {key.client_id} is not 64 hexadecimal digits in lower case")
            if key.digest in seen:
                raise ConfigError(f"{key.client_id} has a key that is in the table twice")
            seen.add(key.digest)
            try:
                scopes = frozenset(scope.parse(key.scope)) if key.scope else frozenset[str]()
            except ValueError as error:
                raise ConfigError(f"the scope of a key of {key.client_id} is not a scope") from error
            yield self._blinded(key.digest), (key, scopes)


def _notices(until: datetime | None, page: str | None) -> tuple[tuple[str, str], ...]:
    """Return the headers of an answer to a key: when keys end (RFC 8594), and where that is described."""
    sunset = [("Sunset", format_datetime(until.astimezone(UTC), usegmt=True))] if until is not None else []
    return (*sunset, *([("Link", f'<{page}>; rel="sunset"')] if page is not None else []))


def _checked_header(name: str) -> str:
    if not _FIELD_NAME.fullmatch(name) or name.lower() in ("authorization", "dpop", "cookie"):
        raise ConfigError("header= must name a header for the key alone, such as X-Api-Key")
    return name.lower()


def _checked_page(url: str | None) -> str | None:
    if url is not None and not re.fullmatch(r"https?://[!#-;=?-\[\]_a-z~]+", url):
        raise ConfigError("page= must be an http or https URL")
    return url
