"""No setting is suggested that weakens what a profile demands, or that would not help."""

from dataclasses import replace
from typing import Any, Unpack
from urllib.parse import urlencode

from tests.unit.server.explain.conftest import Place

from affiant.errors.reasons import Reason
from affiant.testing import ISSUER, NOW, form
from affiant.testing.server import ClientMembers

QUOTED = "it's"  # a client_id that a shell would read otherwise


async def _explain(place: Place, claims: dict[str, Any], *, asked: str = "", **members: Unpack[ClientMembers]) -> Any:
    await place.server.add_client("c2", **members)
    made = await place.store.clients.find("c2")
    assert made is not None
    await place.store.clients.add(replace(made, client_id=QUOTED))
    sent = place.server.assertion(QUOTED, **claims)
    return await place.explain(urlencode(form(sent, scope=asked)) if asked else sent)


async def test_a_profile_that_demands_the_issuer(place: Place) -> None:
    """FAPI 2.0: the audience is the issuer, and tokens are bound, and no setting changes that."""
    found = await _explain(place, {"aud": f"{ISSUER}/token"}, profile="fapi")
    assert found.reason is Reason.AUDIENCE
    assert found.remedy.line == ""
    bound = await place.explain(place.server.assertion(QUOTED))
    assert (bound.reason, bound.remedy) == (Reason.DPOP_MISSING, None)


async def test_a_name_is_quoted_for_the_shell(place: Place) -> None:
    found = await _explain(place, {"aud": f"{ISSUER}/token"})
    assert found.remedy.line == "affiant client update 'it'\"'\"'s' --audience legacy"


async def test_what_remains_is_said(place: Place) -> None:
    """A policy helps up to the reason that no policy concerns."""
    found = await _explain(place, {"aud": f"{ISSUER}/token", "iat": NOW + 31})
    assert [other.reason for other in found.also] == [Reason.IAT_FUTURE]
    assert found.remedy.line.endswith(" --audience legacy")
    assert found.remedy.why.endswith("let it come further: assertion.issued_in_future stays")


async def test_scope_that_no_api_has_is_for_the_operator(place: Place) -> None:
    """One character is wrong in the registration: a request without scope would not help."""
    found = await _explain(place, {}, asked="rr", scope=("rr",))
    assert found.reason is Reason.SCOPE_NOT_ALLOWED
    assert found.fix.why == "the client is registered for rr; https://api.example has r"
    assert "affiant client update" in found.fix.line
