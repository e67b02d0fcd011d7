"""docs/reference/presets.md: what is known of each platform, and what is demanded of its trusts and rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reference.markdown import code, head, table

from affiant.oauth.federation.conditions import Scalar
from affiant.server.registry.federation.platforms.platform import Need, Platform
from affiant.server.registry.federation.platforms.table import PLATFORMS

_TEXT = """\
A trust has the preset of its platform. The preset gives the members that its operator leaves out, and refuses trusts
and rules that cannot work, or that do not tell one workload from the others. Issuers with a host of a platform need its
preset. [How to use them](../how-to/federation/README.md)."""


def build() -> str:
    """The page, in Markdown."""
    change = "server/registry/federation/platforms/"
    return head("Presets", _TEXT, change=change) + "".join(map(_section, PLATFORMS.values()))


def _section(platform: Platform) -> str:
    rows = [row for row in _rows(platform) if row[1]]
    needs = "".join(f"\nEach rule needs {_need(need)}.\n" for need in platform.needs)
    shapes = table(("claim", "values"), ((code(claim), shape.wanted) for claim, shape in platform.shapes.items()))
    return f"\n## `{platform.name}`: {platform.title}\n{table(('', ''), rows)}{needs}{shapes}"


def _rows(platform: Platform) -> Iterator[tuple[str, str]]:
    yield "issuers", _codes(form.text for form in platform.issuers) or "any"
    yield "strangers have the same issuer", "yes" if platform.is_shared else "no"
    yield "`audiences`", code(platform.audience.format("TEAM")) if platform.audience else platform.needs_audience
    yield "`replay`", f"{code(platform.replays[0])}{_other(platform.replays[1:])}"
    longest = f", {platform.longest} at most" if platform.longest != platform.lifetime else ""
    yield "`max_lifetime`", f"{platform.lifetime} s{longest}"
    yield "`algorithms`", _codes(platform.algorithms) or "any that its keys fit"
    yield "`refuses`", ", ".join(f"{code(claim)}: {_values(values)}" for claim, values in platform.refuses)
    yield "never in a rule", ", ".join(f"{code(claim)}: {why}" for claim, why in platform.never.items())


def _need(need: Need) -> str:
    whole = " with whole values" if need.is_exact else ""
    names = f" With `names_only`, {_codes(need.names, ' or ')} will do." if need.names else ""
    claims = (f"{code(claim)}{_like(need, claim)}" for claim in need.claims)
    return f"a condition on {' or '.join(claims)}{whole}: {need.because}.{names}".removesuffix(".")


def _like(need: Need, claim: str) -> str:
    return f" (as in {code(need.patterns[claim])})" if claim in need.patterns else ""


def _codes(texts: Iterable[str], between: str = ", ") -> str:
    return between.join(map(code, texts))


def _values(values: Iterable[Scalar]) -> str:
    return " or ".join(code(str(value).lower() if isinstance(value, bool) else str(value)) for value in values)


def _other(replays: tuple[str, ...]) -> str:
    return f", or {_codes(replays, ' or ')}" if replays else " alone"
