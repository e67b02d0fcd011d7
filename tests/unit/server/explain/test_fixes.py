"""No remedy is shown that weakens what a profile demands, or that would not help."""

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from affiant.jose import compact, keys
from affiant.reasons import Reason
from affiant.server import app
from affiant.server.explain import captured
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import clients
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Api, Client

ISSUER, NOW = "https://as.example", 1_800_000_000
KEY = keys.generate("ES256")
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


async def _explain(claims: dict[str, Any], *, asked: str = "", **options: Any) -> Any:
    store, master = MemoryStore(), MasterKey.from_bytes(bytes(32))
    api = Api("https://api.example", "a", ("r",), is_default=True, created_at=NOW)
    await store.apis.add(api)
    made = clients.build(Client("c1", "private_key_jwt", **options), keys=(KEY.public(),), master_key=master, now=NOW)
    await store.clients.add(replace(made.client, client_id="it's"))
    members = {"iss": "it's", "sub": "it's", "aud": ISSUER, "exp": NOW + 60, "iat": NOW, "jti": "j", **claims}
    explainer = app.build_explainer(issuer=ISSUER, store=store, master_key=master)
    sent = compact.sign({}, members, KEY)
    if asked:
        given = {"grant_type": "client_credentials", "client_assertion_type": JWT_BEARER, "client_assertion": sent}
        sent = urlencode(given | {"scope": asked})
    return await explainer.explain(captured.parse(sent), now=NOW)


async def test_a_profile_that_demands_the_issuer() -> None:
    """FAPI 2.0: the audience is the issuer, and tokens are bound, and no setting changes that."""
    found = await _explain({"aud": f"{ISSUER}/token"}, profile="fapi")
    assert found.reason is Reason.AUDIENCE
    assert found.remedy.line == ""
    bound = await _explain({}, profile="fapi")
    assert (bound.reason, bound.remedy) == (Reason.DPOP_MISSING, None)


async def test_a_name_is_quoted_for_the_shell() -> None:
    found = await _explain({"aud": f"{ISSUER}/token"})
    assert found.remedy.line == "affiant client update 'it'\"'\"'s' --audience legacy"


async def test_what_remains_is_said() -> None:
    """A policy helps up to the reason that no policy concerns."""
    found = await _explain({"aud": f"{ISSUER}/token", "iat": NOW + 31})
    assert [other.reason for other in found.also] == [Reason.IAT_FUTURE]
    assert found.remedy.line.endswith(" --audience legacy")
    assert found.remedy.why.endswith("let it come further: assertion.issued_in_future stays")


async def test_scope_that_no_api_has_is_for_the_operator() -> None:
    """One character is wrong in the registration: a request without scope would not help."""
    found = await _explain({}, asked="rr", scope=("rr",))
    assert found.reason is Reason.SCOPE_NOT_ALLOWED
    assert found.fix.why == "the client is registered for rr; https://api.example has r"
    assert "affiant client update" in found.fix.line
