"""The clients of others show the token of a platform: as the grant, and as a client's authentication."""

import json

import pytest
from tests.e2e.readers import asked
from tests.interop.conftest import Foreign, issued
from tests.platforms import kubernetes
from tests.platforms.issuer import Issuer
from tests.process import ORDERS, Server

from affiant.oauth import names

pytestmark = pytest.mark.interop
TOKENS = {"platform_authlib": 2, "platform_requests_oauth2client": 3, "platform_oauth4webapi": 4}


@pytest.fixture(scope="module")
def token(plain: Server) -> str:
    """The token of a pod whose cluster the server trusts."""
    pod = kubernetes.pod()
    (plain.folder / "keys.json").write_text(json.dumps(Issuer.of(pod).jwks))
    trust = ("trust", "add", "kubernetes", "shop/orders", "--issuer", pod.issuer, "--jwks", "keys.json")
    plain.affiant(*trust, "--new-client", "pod", "--scope", "orders.read")
    return asked(pod, plain.issuer)


@pytest.mark.parametrize("recipe", TOKENS)
def test_both_carriers(plain: Server, foreign: Foreign, foreign_node: Foreign, token: str, recipe: str) -> None:
    before = len(issued(plain, "pod"))
    runner = foreign_node if recipe.endswith("oauth4webapi") else foreign

    runner.run(recipe, plain, CLIENT_ID="pod", TOKEN=token, SCOPE="orders.read", RESOURCE=ORDERS)

    records = issued(plain, "pod")
    assert len(records) - before == TOKENS[recipe]
    assert {record["grant"] for record in records} == {names.JWT_BEARER, names.CLIENT_CREDENTIALS}
