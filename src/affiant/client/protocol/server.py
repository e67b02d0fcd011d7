"""The authorization server of a service: found once, with where it is reached and what it wants as audience."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from affiant.client.protocol import flow, transport
from affiant.client.protocol.options import Options
from affiant.client.protocol.profiles import FALLBACK, TOKEN_ENDPOINT, Profile
from affiant.errors import LocalError, Refused, RemoteError
from affiant.oauth.metadata import Metadata, Reach
from affiant.system import forks
from affiant.system.urls import is_safe_url

if TYPE_CHECKING:  # the first request loads it
    import httpx2

log: logging.Logger = logging.getLogger(__name__)
Result = TypeVar("Result")
AGAIN_SECONDS = 60.0  # after which a fall-back that was refused is tried again: the key may be registered by then


class Server:
    """The server of one issuer, for all requests of a service."""

    def __init__(self, issuer: str, options: Options, profile: Profile, *, is_by_tls: bool) -> None:
        self._issuer = issuer
        self._is_by_tls = is_by_tls
        self._given = _given(issuer, options, profile)
        self._found = self._given
        self.reach: Reach = _reach(self._given.token_endpoint if self._given else issuer, options)
        self.audience_rule = _rule(options.get("unsafe_audience"), profile)
        self._trial = forks.Lock()
        self._not_before = float("-inf")  # of the next trial, by the monotonic clock

    def find(self, http: httpx2.Client, clock: Callable[[], float]) -> Metadata:
        """Return the metadata, which are fetched if there are none yet."""
        found = self._found  # another thread may set it to None at any time
        if found is None:
            found = transport.run(flow.discover(self._issuer, clock=clock, reach=self.reach), http)
            if self._is_by_tls:
                found = _over_mtls(found)
            self._found = found
        return found

    def forget(self) -> None:
        """Discover the server again next time: its endpoint may have moved."""
        self._found = self._given

    @property
    def is_audience_of_metadata(self) -> bool:
        """Whether only the metadata say what the audience is."""
        return self.audience_rule == TOKEN_ENDPOINT

    def audience(self, found: Metadata | None) -> str:
        """Return `aud` for assertions to this server."""
        rule = self.audience_rule
        if rule == TOKEN_ENDPOINT and found is not None and found.token_endpoint is not None:
            # Attack: metadata name another server's endpoint, and an alias (RFC 8705 section 5) of the attacker's own.
            # The audience is where the assertion is sent.
            return found.token_endpoint
        return self._issuer if rule in (None, FALLBACK, TOKEN_ENDPOINT) else str(rule)

    def fall_back(self, refusal: Refused, tried: str | None, retry: Callable[[], Result]) -> Result:
        """Try the token endpoint as audience where the issuer was refused; remember it if it is the right one.

        `tried` is the rule of the refused request: another thread may have found the answer since.
        """
        if tried != FALLBACK:
            raise refusal
        with self._trial:
            if self.audience_rule == TOKEN_ENDPOINT:
                return retry()
            if time.monotonic() < self._not_before:
                raise refusal
            self.audience_rule = TOKEN_ENDPOINT
            try:
                result = retry()
            except Refused:
                self.audience_rule, self._not_before = FALLBACK, time.monotonic() + AGAIN_SECONDS
                refusal.hint += "\n  its token endpoint was refused as audience, too" if refusal.hint else ""
                raise refusal from None
            except BaseException:
                self.audience_rule = FALLBACK  # it said neither yes nor no
                raise
            log.warning("%s wants its token endpoint as audience: name it with unsafe_audience=", self._issuer)
            return result


def _given(issuer: str, options: Options, profile: Profile) -> Metadata | None:
    """Return the metadata of a server whose token endpoint the caller names."""
    url: object = options.get("token_endpoint")
    if url is None:
        return None
    if profile.needs_metadata:
        raise LocalError(f"profile={profile.name!r} takes the endpoint from the server's metadata: no token_endpoint=")
    if not isinstance(url, str) or not _is_endpoint(url, is_http_safe=options.get("unsafe_http", False)):
        raise LocalError(
            "token_endpoint= must be an https URL without user and fragment (http only on loopback, or with"
            " unsafe_http=True)"
        )
    if not issuer or not isinstance(issuer, str):
        raise LocalError("the issuer is empty: name the server, whose identifier becomes the audience of assertions")
    return Metadata(issuer, url, None, {})


def _is_endpoint(url: str, *, is_http_safe: bool) -> bool:
    is_safe = is_safe_url(url) or (is_http_safe and is_safe_url(url.replace("http://", "https://", 1)))
    return is_safe and "#" not in url and "@" not in urlsplit(url).netloc


def _reach(identifier: str | None, options: Options) -> Reach:
    try:
        return Reach.of(identifier or "", options.get("reach"), options.get("unsafe_reach"))
    except ValueError as error:
        raise LocalError(str(error)) from None


def _rule(audience: str | None, profile: Profile) -> str | None:
    if audience is None:
        return profile.audience
    if profile.needs_metadata:
        raise LocalError(f"profile={profile.name!r} has the issuer as the only audience: no unsafe_audience=")
    if audience not in (TOKEN_ENDPOINT, FALLBACK) and ":" not in str(audience):
        raise LocalError(f"unsafe_audience={audience!r} is a URL, {TOKEN_ENDPOINT!r} or {FALLBACK!r}")
    return audience


def _over_mtls(found: Metadata) -> Metadata:
    try:
        return found.over_mtls()
    except ValueError as error:
        raise RemoteError(f"the metadata of {found.issuer}: {error}") from None
