"""A page for each reason, at `<issuer>/errors/<code>`: what an `error_uri` leads to. No script."""

from __future__ import annotations

from html import escape

from affiant.reasons import Reason

GENERIC = "client.authentication_failed"
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}"
    "code{font-size:1.05em}dt{font-weight:600;margin-top:1rem}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#eee}a{color:#9cf}}"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


def reason(code: str) -> str | None:
    """The page of this reason, or None where there is none."""
    if code == GENERIC:
        return _page(code, _generic())
    try:
        row = Reason.from_code(code).value
    except KeyError:
        return None
    return _page(
        code,
        f"<p>{escape(row.sentence)}.</p><dl><dt>What to do</dt><dd>{escape(row.fix)}</dd>"
        f"<dt>Answer</dt><dd>{row.status} <code>{escape(row.error)}</code></dd>"
        f"<dt>Rule</dt><dd>{escape(row.source)}</dd></dl>",
    )


def index() -> str:
    """The list of all reasons."""
    links = "".join(
        f'<li><a href="errors/{escape(r.code)}"><code>{escape(r.code)}</code></a> {escape(r.value.sentence)}</li>'
        for r in Reason
    )
    return _page("Reasons", f"<ul>{links}</ul>")


def _generic() -> str:
    return (
        "<p>The request did not prove that it comes from the client it names. Whether the client exists, is enabled or "
        "has that key is told to nobody who has not proved it.</p><dl><dt>What to do</dt><dd>Compare client_id, "
        "method, algorithm, kid and key with the registration, or give the operator the trace_id: the audit log has "
        "the reason.</dd></dl>"
    )


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1><code>{escape(title)}</code></h1>{body}</html>"
    )
