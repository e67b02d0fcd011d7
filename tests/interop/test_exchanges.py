"""The clients of others exchange a token of ours (RFC 8693) at a real server, as docs/how-to/token-exchange.md says."""

import pytest
from tests.interop.conftest import Foreign, Pair, issued
from tests.process import Server

pytestmark = pytest.mark.interop
DESK, STOCK = "https://desk.example", "https://stock.example"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


@pytest.fixture(scope="module")
def token(plain: Server) -> str:
    """The access token that an API got from its caller."""
    plain.affiant("api", "new", "desk", "--identifier", DESK, "--scope", "stock.read")
    plain.affiant("api", "new", "stock", "--identifier", STOCK, "--scope", "stock.read")
    plain.affiant("client", "new", "shop", "--resource", DESK, "--resource", STOCK, "--scope", "stock.read")
    return plain.run("token", "-c", "shop.affiant.json", "--resource", DESK).stdout.strip()


@pytest.mark.parametrize("recipe", ["exchange_authlib", "exchange_requests_oauth2client", "exchange_oauth4webapi"])
def test_exchange(
    plain: Server, foreign: Foreign, foreign_node: Foreign, pairs: dict[str, Pair], token: str, recipe: str
) -> None:
    words = ("--scope", "stock.read", "--introspect", DESK, "--resource", STOCK, "--grant", EXCHANGE)
    with_secret = recipe == "exchange_authlib"
    pair = pairs["ec"]
    how = ("--auth", "client_secret_basic") if with_secret else ("--public-key", str(pair.public), "--alg", "ES256")
    plain.affiant("client", "new", recipe, *how, *words)
    given = {"SECRET": plain.credentials(recipe)["client_secret"]} if with_secret else {"KEY": str(pair.private)}
    runner = foreign_node if recipe.endswith("oauth4webapi") else foreign
    runner.run(recipe, plain, CLIENT_ID=recipe, TOKEN=token, SCOPE="stock.read", RESOURCE=STOCK, **given)
    records = issued(plain, recipe)
    assert records
    assert all(record["grant"] == EXCHANGE and record["parent"] for record in records)
