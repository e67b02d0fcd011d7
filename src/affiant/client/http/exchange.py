"""The rules for a request with a token, whatever library sends it: what it carries, and when it is sent once more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from affiant.client.http.challenge import find_status, is_refused, wants_nonce
from affiant.client.http.origin import Destination
from affiant.client.token import Token, TokenKey

if TYPE_CHECKING:  # it loads cryptography, which a cached token does not need
    from affiant.client.events import Announcer
    from affiant.client.protocol.flow import Offset
    from affiant.client.protocol.prover import Prover
    from affiant.telemetry.tracing.traces import Traces

_RENEW, _PROVE = "invalid_token", "use_dpop_nonce"  # the errors that have a remedy


def is_whole(body: object) -> bool:
    """Whether a body can be sent twice: a stream cannot."""
    return body is None or isinstance(body, str | bytes | bytearray)


class Tokens(Protocol):
    """A source of tokens."""

    def get(self, key: TokenKey) -> Token:
        """Return a good token; block while it is requested."""

    async def aget(self, key: TokenKey) -> Token:
        """Return a good token without blocking the event loop."""

    def forget(self, key: TokenKey, value: str) -> bool:
        """Drop a token that an API refused. Return whether there is another one, or will be."""


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """The access to one API: which token, to where, and with which proof."""

    source: Tokens
    key: TokenKey
    destination: Destination
    prover: Prover | None = None
    offset: Offset | None = None
    announce: Announcer | None = None
    traces: Traces | None = None

    def __reduce__(self) -> NoReturn:
        raise TypeError("an auth contains tokens and cannot be pickled: make it in the process that uses it")

    def begin(self, url: str) -> Exchange:
        """Begin a request. Order: its URL is checked before a token is requested."""
        self.destination.check(url)
        return Exchange(self, self.source.get(self.key).value)

    async def abegin(self, url: str) -> Exchange:
        self.destination.check(url)
        return Exchange(self, (await self.source.aget(self.key)).value)


class Exchange:
    """One request of a caller, until the response is the caller's."""

    __slots__ = ("_access", "_token", "_tried")

    def __init__(self, access: Access, token: str) -> None:
        self._access = access
        self._token = token
        self._tried: set[str] = set()

    def __reduce__(self) -> NoReturn:
        self._access.__reduce__()

    def headers(self, method: str, url: str, given: Iterable[str] = ()) -> dict[str, str]:
        """Return the headers that authorize one sending; a proof is made for each.

        With traces, they name the current span as the parent, unless the headers that are `given` name one.
        """
        headers = {"Authorization": self._credentials()}
        if self._access.prover is not None:
            # The API's clock is taken to be right if the server's is: ours differs from that by the offset.
            ahead = self._access.offset.seconds if self._access.offset is not None else 0.0
            headers["DPoP"] = self._access.prover.prove(method, url, access_token=self._token, offset=ahead)
        if self._access.traces is not None:
            headers |= self._access.traces.outgoing(given)
        return headers

    def authorize(self, request: Any) -> None:
        """Put these headers into a request that has `method`, `url` and `headers`, in place of any of that name."""
        for name, value in self.headers(request.method, str(request.url), request.headers).items():
            request.headers[name] = value  # `update` of httpx2 takes longer than all else here

    def has_remedy(self, url: str, sent: Mapping[str, Any], response: Any) -> bool:
        """Whether sending once more may help against this response; each remedy once. Forget a refused token.

        Args:
            url: of the hop that answered.
            sent: the headers that this hop got.
            response: of any library.
        """
        remedy = self._remedy(url, sent, response)
        if remedy is None or remedy in self._tried:
            return False
        self._tried.add(remedy)
        return remedy != _RENEW or self._access.source.forget(self._access.key, self._token)

    def renew(self) -> None:
        """Prepare the second sending; block while a token is requested."""
        self._token = self._access.source.get(self._access.key).value
        self._report()

    async def arenew(self) -> None:
        self._token = (await self._access.source.aget(self._access.key)).value
        self._report()

    def _credentials(self) -> str:
        return f"{'Bearer' if self._access.prover is None else 'DPoP'} {self._token}"

    def _remedy(self, url: str, sent: Mapping[str, Any], response: Any) -> str | None:
        # A library that follows a redirect to another origin drops the header: the token was not sent there, must not
        # be sent now, and was not refused. Attack: that origin answers 401, and the first one gets a POST twice.
        if sent.get("Authorization") != self._credentials():
            return None
        status, headers, prover = find_status(response), response.headers, self._access.prover
        has_nonce = prover is not None and prover.learn(url, headers)
        if has_nonce and wants_nonce(status, headers):
            return _PROVE
        return _RENEW if is_refused(status, headers) else None

    def _report(self) -> None:
        if self._access.announce is not None:
            error = _RENEW if _RENEW in self._tried else _PROVE
            self._access.announce("api.retried", self._access.key, error=error)
