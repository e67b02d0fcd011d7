"""urllib3: a copy of a PoolManager, which shares its connections and adds the token to each request."""

from __future__ import annotations

import copy
from typing import Any

from affiant.client.http.exchange import Access, is_whole
from affiant.errors import LocalError
from affiant.system.urls import join_host

_OURS = ("authorization", "dpop")  # otherwise sent twice, if the caller writes them in another case


def with_token(manager: Any, access: Access) -> Any:
    """Return a copy of this urllib3.PoolManager or ProxyManager; the manager itself still adds nothing."""
    kind = type(manager)
    if not hasattr(kind, "connection_from_host"):
        raise LocalError("auth.urllib3() takes a urllib3.PoolManager, or another manager with its methods")

    # The manager asks for the pool of each hop of a redirect, too.
    def connection_from_host(self: Any, *places: Any, **named: Any) -> Any:
        return _Pool(kind.connection_from_host(self, *places, **named), access)

    made = copy.copy(manager)
    made.__class__ = type("Authorized", (kind,), {"connection_from_host": connection_from_host})
    return made


class _Pool:
    """The connections to one host: a pool of the manager, with the token."""

    def __init__(self, pool: Any, access: Access) -> None:
        self._pool = pool
        self._access = access

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def urlopen(self, method: str, url: str, **options: Any) -> Any:
        # Through a proxy without a tunnel the whole URL is here, otherwise the path.
        host = join_host(self._pool.host.strip("[]"), self._pool.port)
        at = url if "://" in url.partition("?")[0] else f"{self._pool.scheme}://{host}{url}"
        self._access.destination.check_hop(at, "urllib3")
        exchange = self._access.begin(at)
        given = {
            name: value for name, value in (options.pop("headers", None) or {}).items() if name.lower() not in _OURS
        }
        while True:
            headers = {**given, **exchange.headers(method, at, given)}
            response = self._pool.urlopen(method, url, headers=headers, **options)
            if not exchange.has_remedy(at, headers, response) or not is_whole(options.get("body")):
                return response
            response.drain_conn()
            exchange.renew()
