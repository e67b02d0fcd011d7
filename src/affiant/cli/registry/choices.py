"""Options of several registry commands: the policies of a client, and the lifetime and typ of tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from affiant.oauth import assertion, names
from affiant.server.registry.rules import SHORTEST_TOKEN
from affiant.storage.entries import LONGEST_TOKEN

RARE = (
    "warning: few libraries verify {alg}, and some cannot read a key set at /jwks that has such a key, so that the APIs"
    " that keep another algorithm are affected too (docs/reference/signing-keys.md)"
)
UNTYPED = (
    "warning: tokens of typ JWT are not RFC 9068 access tokens: a verifier cannot tell them from other JWTs of this"
    " issuer by their typ, and the guard of affiant refuses them. Use it only for a verifier that knows no at+jwt"
)


class _Lifetime(click.ParamType[int]):
    """Seconds, or ``default`` for the server's setting."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "default":
            return 0
        return click.IntRange(SHORTEST_TOKEN, LONGEST_TOKEN).convert(value, param, ctx)


def policy_options(command: Any) -> Any:
    """--audience and the other rules, --observe, --access-token-lifetime."""
    command = lifetime_option("seconds that its access tokens live, or default for the setting of the server")(command)
    rules = click.Choice(assertion.RULES)
    command = click.option("--observe", multiple=True, type=rules, help="record a breach, but accept it")(command)
    for rule, values in reversed(assertion.POLICIES.items()):
        choice, text = click.Choice(values), f"policy for the {rule} of its assertions"
        command = click.option(f"--{rule}", f"{rule}_policy", type=choice, help=text)(command)
    return command


def lifetime_option(text: str) -> Callable[[Any], Any]:
    """--access-token-lifetime."""
    return click.option("--access-token-lifetime", type=_Lifetime(), metavar="SECONDS", help=text)


typ_option: Callable[[Any], Any] = click.option(
    "--token-typ",
    "access_token_typ",
    type=click.Choice(names.ACCESS_TOKEN_TYPES),
    help="typ of its tokens; JWT only for a verifier that knows no at+jwt: the guard of affiant refuses such tokens",
)
