"""The token of a job in a file: the command reads the rule from its claims, and the server judges it by that rule."""

from __future__ import annotations

from affiant.cli.arguments import read_given
from affiant.cli.connection.place import Place
from affiant.cli.diagnosis.explain import read_answer
from affiant.errors import ConfigError
from affiant.jose.claims import instant
from affiant.server.registry.federation.platforms.adding import pasted
from affiant.server.registry.federation.platforms.adding.pasted import Pasted


def read(file: str) -> Pasted:
    """Return the token in this file, or from standard input; raise ConfigError unless it is a platform's."""
    given = read_given(file, longest=2 * pasted.LONGEST)
    if given == file:
        raise ConfigError("there is no such file: --from-token takes the name of a file, or - for standard input")
    try:
        return pasted.parse(given)
    except ConfigError as error:
        raise ConfigError(str(error).replace("this is no signed JWT", "--from-token has no signed JWT")) from None


def judge(token: Pasted, trust: str, place: Place) -> str:
    """Return the server's verdict on the token at the time of its iat, with the fix of a refusal."""
    begin = instant(token.claims, "iat")
    answer = place.post("/explain", {"request": token.text, "at": begin, "trust": trust})
    found = read_answer(answer, place)
    if found.reason is None:
        return "the server would accept this token, and its signature is right"
    mends = [one for one in (found.fix, found.remedy) if one is not None and one.line]
    first = f"{mends[0].line} ({mends[0].why})" if mends else found.code
    return f"the server would refuse this token: {first}"
