"""urllib: a handler for urllib.request.build_opener."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.request import BaseHandler, Request

from affiant.client.http.exchange import Access, Exchange, is_whole


class TokenHandler(BaseHandler):
    """An opener calls its handlers for each hop of a redirect. No header of this one is copied to the next hop."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def http_request(self, request: Request) -> Request:
        url = request.full_url
        self._access.destination.check_hop(url, "urllib")
        kept = vars(request)
        exchange: Exchange = kept.pop("_repeated", None) or self._access.begin(url)
        for name, value in exchange.headers(request.get_method(), url, dict(request.header_items())).items():
            request.add_unredirected_header(name, value)
        kept["_exchange"] = exchange
        return request

    https_request = http_request

    def http_error_401(self, request: Request, response: Any, status: int, _reason: str, headers: Any) -> Any:
        """Send the request once more, or return None: the opener then raises HTTPError."""
        exchange: Exchange | None = vars(request).pop("_exchange", None)
        answer = SimpleNamespace(status=status, headers=headers)
        if exchange is None or not exchange.has_remedy(request.full_url, request.unredirected_hdrs, answer):
            return None
        if not is_whole(request.data):
            return None
        response.close()
        exchange.renew()
        vars(request)["_repeated"] = exchange
        return self.parent.open(request, timeout=request.timeout)
