"""HTML pages: a home page, and one for each reason at `<issuer>/errors/<code>`, the `error_uri` of a refusal.

They load nothing: no script, no font, no image.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from urllib.parse import urlsplit

from affiant.errors.reasons import Reason
from affiant.oauth.metadata import well_known_url
from affiant.system.version import __version__

GENERIC = "client.authentication_failed"
_WHAT = (
    "OAuth 2.0 authorization server for services: clients get access tokens here, and people have nothing to log in to."
)
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}"
    "code{font-size:1.05em;overflow-wrap:anywhere}dt{font-weight:600;margin-top:1rem}nav{margin-top:2rem}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#eee}a{color:#9cf}}"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    f"style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'",
    "Referrer-Policy": "no-referrer",
}


def home(issuer: str) -> str:
    """Return the page of the server itself."""
    return _page("affiant", f"<p>{_WHAT}</p>{_facts(issuer)}", issuer)


def absent(issuer: str, trace_id: str) -> str:
    """Return the page for an unknown path."""
    text = f"<p>No page and no endpoint has this path. <code>trace_id</code> {escape(trace_id)}</p>"
    return _page("Not found", f"{text}<p>{_WHAT}</p>{_facts(issuer)}", issuer)


def reason(code: str, issuer: str) -> str | None:
    """Return the page of this reason, or None where there is none."""
    if code == GENERIC:
        return _page(code, _generic(), issuer)
    try:
        row = Reason.from_code(code).value
    except KeyError:
        return None
    return _page(
        code,
        f"<p>{escape(row.sentence)}.</p><dl><dt>What to do</dt><dd>{escape(row.fix)}</dd>"
        f"<dt>Answer</dt><dd>{row.status} <code>{escape(row.error)}</code></dd>"
        f"<dt>Rule</dt><dd>{escape(row.source)}</dd></dl>",
        issuer,
    )


def index(issuer: str) -> str:
    """Return the list of all reasons."""
    place = f"{_base(issuer)}/errors"
    links = "".join(
        f'<li><a href="{place}/{escape(r.code)}"><code>{escape(r.code)}</code></a> {escape(r.value.sentence)}</li>'
        for r in Reason
    )
    return _page("Reasons", f"<ul>{links}</ul>", issuer)


def _generic() -> str:
    return (
        "<p>The request did not prove that it comes from the client it names. Whether the client exists, is enabled or "
        "has that key is said only to a client that has proved it.</p><dl><dt>What to do</dt><dd>Compare client_id, "
        "method, algorithm, kid and key with the registration, or give the operator the trace_id: the audit log has "
        "the reason.</dd></dl>"
    )


def _facts(issuer: str) -> str:
    return (
        f"<dl><dt>Issuer</dt><dd><code>{escape(issuer)}</code></dd>"
        f"<dt>Token endpoint</dt><dd><code>{escape(issuer)}/token</code></dd>"
        f"<dt>Version</dt><dd>{escape(__version__)}</dd></dl>"
    )


def _base(issuer: str) -> str:
    """Return the path of the issuer, for links that work under every host name of the server."""
    return escape(urlsplit(issuer).path)


def _page(title: str, body: str, issuer: str) -> str:
    links = (
        (f"{_base(issuer)}/", "Server"),
        (f"{_base(issuer)}/errors", "Reasons for a refusal"),
        (escape(urlsplit(well_known_url(issuer)).path), "Metadata"),
        (f"{_base(issuer)}/jwks", "Keys"),
        (f"{_base(issuer)}/health", "Health"),
    )
    nav = " · ".join(f'<a href="{place}">{text}</a>' for place, text in links)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1><code>{escape(title)}</code></h1>{body}"
        f"<nav>{nav}</nav></html>"
    )
