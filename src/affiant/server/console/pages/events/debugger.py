"""Judge a request that was pasted. It is in the body of the form alone, and nothing of it is kept or claimed."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlsplit

from affiant.errors import ConfigError
from affiant.jose.algorithms import ASYMMETRIC
from affiant.oauth.parameters.form import Form
from affiant.server.console.api import Ask, Refusal
from affiant.server.console.pages.events import languages
from affiant.server.console.pages.events.explained import MARKS, Explained, explain
from affiant.server.console.pages.page import page
from affiant.server.console.show import times
from affiant.server.console.view import View
from affiant.server.explain import captured, facts
from affiant.server.explain.explanation import STEPS
from affiant.server.request.http import Answer

SPAN = 3600  # seconds that the time can be moved
_STRIP = 600  # seconds between two instants that are tried
_TIMES = frozenset({"time"})
# Parameters that are shown without their values.
_HIDDEN = frozenset(
    {"client_secret", "client_assertion", "assertion", "refresh_token", "subject_token", "actor_token", "password"}
)


class Moment(NamedTuple):
    """Whether the times of a request are right at one instant."""

    name: str
    is_right: bool


class Judged(NamedTuple):
    """A request, and what the server says about it."""

    kind: str
    header: dict[str, Any]
    claims: dict[str, Any]
    form: list[tuple[str, str]]
    at: float
    explained: Explained
    moments: list[Moment]  # around the time of the form, only if its times decide

    @property
    def is_token(self) -> bool:
        """Whether it was judged as an access token."""
        return bool(self.explained.found["ladder"][0]["name"] != STEPS[1])


@page("/debugger")
async def show_debugger(view: View) -> Answer:
    return await _show(view, None)


@page("/debugger", method="POST")
async def judge(view: View) -> Answer:
    try:
        return await _show(view, await _judge(view)) if view.form.text("request") else await _show(view, None)
    except (Refusal, ConfigError) as error:
        problem = (
            error if isinstance(error, Refusal) else Refusal({"title": "this is no request", "detail": str(error)})
        )
        return await _show(view, None, problem)


async def _show(view: View, judged: Judged | None, refusal: Refusal | None = None) -> Answer:
    trusts = [one["name"] for one in (await view.api.get("/trusts", limit=1000))["items"]]
    return view.show(
        "events/debugger.html",
        status=422 if refusal is not None else 200,
        judged=judged,
        refusal=refusal,
        trusts=trusts,
        marks=MARKS,
        languages=languages.NAMES,
        algorithms=[alg for alg in ("ES256", "ES384", "ES512", "EdDSA", "RS256", "PS256") if alg in ASYMMETRIC],
        token_path=f"{urlsplit(view.issuer).path}/token",
        span=SPAN,
    )


async def _judge(view: View) -> Judged:
    text = view.form.text("request")
    request = captured.parse(text)
    offset = min(max(_offset(view.form.text("offset")), -SPAN), SPAN)
    base = _time(view.form.text("at"), view.now)
    at = max(base + offset, 0)
    found = await _ask(view, text, at)
    read = facts.read(request, issuer=view.issuer, now=at)
    return Judged(
        kind="a JWT" if request.is_bare else f"a request: {request.method} {request.url[:200]}",
        header=read.header,
        claims=read.claims,
        form=_shown(read.form) if read.form is not None else [],
        at=at,
        explained=await explain(view, found),
        moments=await _try(view, text, base, read.claims) if _depends_on_time(found) else [],
    )


def _shown(form: Form) -> list[tuple[str, str]]:
    """Return the parameters; what authenticates is on the page once, where it was pasted."""
    found = [(name, value) for name, values in form.values.items() for value in values]
    return [(name, f"{len(value)} characters" if name in _HIDDEN else value) for name, value in found]


async def _ask(view: View, text: str, at: float) -> dict[str, Any]:
    body = {"request": text, "at": at, "trust": view.form.maybe("trust")}
    found: dict[str, Any] = (await view.api.send(Ask("POST", "/explain", body))).document
    return found


def _depends_on_time(found: dict[str, Any]) -> bool:
    return found["accepted"] or bool(_TIMES & _failed(found))


async def _try(view: View, text: str, base: float, claims: dict[str, Any]) -> list[Moment]:
    """Try instants around this one: every ten minutes, and those that the claims themselves name."""
    moments = dict.fromkeys(range(-SPAN, SPAN + 1, _STRIP), "")
    for name, later in (("iat", 0), ("nbf", 0), ("exp", -1)):
        at = claims.get(name)
        if isinstance(at, int | float) and abs(at - base) < SPAN:
            moments[round(at - base) + later] = f" ({name})"
    return [
        Moment(_name(seconds) + moments[seconds], not _TIMES & _failed(await _ask(view, text, max(base + seconds, 0))))
        for seconds in sorted(moments)
    ]


def _name(seconds: int) -> str:
    """Return an offset in words, such as +16 min 40 s."""
    minutes, rest = divmod(abs(seconds), 60)
    return f"{'-' if seconds < 0 else '+'}{minutes} min{f' {rest} s' if rest else ''}" if seconds else "at that time"


def _failed(found: dict[str, Any]) -> set[str]:
    """Return the names of the checks that failed."""
    return {line["name"] for line in found["ladder"] if line["mark"] == "failed"}


def _offset(text: str) -> int:
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 9 else 0  # noqa: PLR2004


def _time(text: str, now: float) -> float:
    """Return the instant that a visitor wrote; raise ConfigError for what is none."""
    if not text:
        return now
    found = times.parse(text, now)
    if found is None:
        raise ConfigError(f"{text[:40]!r} is no time: write 2026-11-21T08:00:00Z, or seconds since 1970")
    return found
