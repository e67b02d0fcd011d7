"""`affiant inspect`."""

from __future__ import annotations

import click

from affiant.cli.arguments import read_given
from affiant.cli.output import describe_jwt, json_option, show
from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact

_LONGEST = 65_536  # characters


@click.command()
@click.argument("jwt", metavar="JWT|FILE|-")
@json_option()
def inspect(jwt: str) -> None:
    """Only its form is checked. JWT is the name of a file, or "-" for standard input, or the JWT itself.

    \b
    affiant assertion -c billing.affiant.json | affiant inspect -
    """
    text = read_given(jwt, longest=2 * _LONGEST)
    try:
        read = compact.parse(text.removeprefix("Bearer "), limit=_LONGEST)
    except Rejected as refusal:
        # The reasons speak of a client assertion; this may be any JWT, and longer.
        said = refusal.reason.value.sentence.replace("the assertion", "it")
        said = f"it is longer than {_LONGEST} characters" if refusal.reason is Reason.JWT_TOO_LONG else said
        raise ConfigError(f"this is not a signed JWT: {said}") from None
    data = {"header": read.header, "claims": read.claims, "signature_bytes": len(read.signature)}
    show(data, *describe_jwt(read.header, read.claims), f"signature  {len(read.signature)} bytes, not checked")
