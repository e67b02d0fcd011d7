"""docs/reference/endpoints.md: what the server mounts, and what each endpoint says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, starmap
from typing import Any

from reference import running
from reference.markdown import code, head, members, table

from affiant.errors.reasons import Reason
from affiant.server.admin.roles import PATH as ADMIN_PATH
from affiant.server.client_auth import descriptions as client_auth
from affiant.server.published.descriptions import BY_PATH
from affiant.server.request.description import Description, Parameter
from affiant.server.request.endpoint import Endpoint

_TEXT = f"""\
Every path of the authorization server, below its issuer identifier; the well-known ones are both before and after the
path of the issuer. The admin API, below `{ADMIN_PATH}`, has [a page of its own](admin-api.md).

A form has at most 64 KiB and 32 parameters, each once unless it says that it may repeat; one without a value counts as
left out. Nothing of it may stand in the URL. What is not listed is ignored, in forms as in metadata.

Every answer in JSON has `Cache-Control: no-store`, but for what is published. A refusal is a JSON object:

| member | meaning | source |
| --- | --- | --- |
| `error` | a code for programs | RFC 6749 5.2 |
| `error_description` | a sentence for people | RFC 6749 5.2 |
| `error_uri` | the page of the reason | RFC 6749 5.2 |
| `trace_id` | the request in the audit log, also in the header `X-Trace-Id` | affiant |

Its headers say what to do: `WWW-Authenticate` (401), `Allow` (405), `Retry-After` (429, 503), `DPoP-Nonce` (with the
setting `dpop_nonces`). The [reasons](reasons.md) say with which status and `error` each is answered. An unknown path is
answered with 404 `not_found`, a method that a published page does not take 405 `method_not_allowed`; both name the
token endpoint, and their `trace_id` is in the server's log at level INFO alone. A browser gets a page at the issuer and
at unknown paths: the name, issuer and version of the server, with links.

The documents below that take `OPTIONS` are public: pages of any origin may read them (CORS). No other endpoint allows
that, because a page cannot keep the key or the secret of a client."""
_PROOF = """
## How clients authenticate

In one way with each request, the one that the client is registered for. Until its proof is verified, every reason of
the steps 5 to 7 is reported as `client.authentication_failed`.
"""
_ALSO = "\nAnd what [authenticates the client](#how-clients-authenticate), with the reasons there.\n"
_CHANGE = "the descriptions.py of each endpoint in src/affiant/server"


def build() -> str:
    """The page, in Markdown."""
    shared = f"{_PROOF}{_parameters(client_auth.PARAMETERS)}{_refusals(client_auth.REFUSES)}"
    return head("Endpoints", _TEXT, change=_CHANGE) + shared + "".join(starmap(_section, mounted().items()))


def mounted() -> dict[str, Description]:
    """What the server really has, by path.

    Raises:
        KeyError: something of it is not described.
    """
    server = running.server()
    own = {path if path[-1] != "/" else f"{path}{{client_id}}": type(e).description for path, e in _endpoints(server)}
    return {**own, **{route.path: BY_PATH[route.path] for route in server.routes}}


def reasons(refuses: Sequence[str]) -> list[Reason]:
    """The reasons that are named by whole codes or by their first parts, in the order of the list."""
    return [reason for reason in Reason if reason.code in refuses or _part(reason) in refuses]


def _endpoints(server: Any) -> list[tuple[str, Endpoint]]:
    return list(server._endpoints.items())  # noqa: SLF001 - nobody else needs to know


def _section(path: str, described: Description) -> str:
    is_client = set(client_auth.PARAMETERS) <= set(described.parameters)
    own = [one for one in described.parameters if not is_client or one not in client_auth.PARAMETERS]
    refused = [one for one in described.refuses if not is_client or one not in client_auth.REFUSES]
    return (
        f"\n## `{' '.join(described.methods)} {path}`\n\n{described.purpose} Called by {described.caller}.\n"
        f"{_parameters(own)}{_ALSO if is_client else ''}"
        f"\nAnswers: {'; '.join(described.statuses)}.\n{members(described.answers)}{_refusals(refused)}"
    )


def _parameters(parameters: Sequence[Parameter]) -> str:
    rows = ((code(one.name), one.place, one.meaning, one.when, one.source) for one in parameters)
    return table(("parameter", "where", "meaning", "needed", "source"), rows)


def _refusals(refuses: Sequence[str]) -> str:
    parts = groupby(sorted(reasons(refuses), key=_part), key=_part)
    lines = [f"- `{part}.`: {', '.join(map(_rest, some))}\n" for part, some in parts]
    return "\nRefuses with:\n\n" + "".join(lines) if lines else ""


def _part(reason: Reason) -> str:
    return reason.code.partition(".")[0]


def _rest(reason: Reason) -> str:
    return code(reason.code.partition(".")[2])
