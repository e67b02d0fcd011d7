"""A server with a life: APIs, services, a platform, refusals. Screens and pictures show it."""

from tests.process import ORDERS, Server

from affiant.jose import keys

STOCK = "https://stock.example"
GRANT = {"grant_type": "client_credentials"}


def build(server: Server) -> dict[str, str]:
    """Register what a small company has, let its services ask, and return names for the paths of screens."""
    _register(server)
    trace = _ask(server)
    return {"client": "billing", "api": ORDERS, "trust": "github", "trace": trace, "user": "ann"}


def _register(server: Server) -> None:
    run = server.affiant
    run("api", "new", "stock", "--identifier", STOCK, "--scope", "stock.read", "--scope", "stock.write")
    both = ("--resource", ORDERS, "--resource", STOCK)
    run("client", "new", "billing", "--name", "Billing", "--scope", "orders.read", "--scope", "stock.read", *both)
    run("client", "new", "reports-batch", "--name", "Nightly reports", "--scope", "orders.read")
    run("client", "new", "warehouse", "--auth", "client_secret_basic", "--scope", "stock.write", "--resource", STOCK)
    run("client", "new", "partner-acme", "--name", "Acme (partner)", "--scope", "orders.read")
    run("client", "new", "deploy", "--name", "Deployments", "--scope", "orders.read")
    run("client", "new", "old-importer", "--scope", "orders.read")
    run("client", "disable", "old-importer")
    run("client", "secret", "new", "warehouse")
    words = ("--branch", "main", "--repository-id", "123", "--owner-id", "7", "--client", "deploy")
    run("trust", "add", "github", "acme/app", *words)


def _ask(server: Server) -> str:
    """Return the trace id of a refusal."""
    for name, count in (("billing", 12), ("reports-batch", 40)):
        for _ in range(count):
            issued = server.token(**server.proof(name, resource=ORDERS) | GRANT)
            assert issued.status_code == 200, issued.text
    stranger = keys.generate("ES256")
    mistakes = (
        server.assertion("partner-acme", lifetime=86_400),
        server.assertion("partner-acme", key=stranger),
        server.assertion("partner-acme", audience=f"{server.issuer}/token/"),
    )
    proof = server.proof("partner-acme") | GRANT
    refusals = [server.token(**proof | {"client_assertion": mistaken}).json() for mistaken in mistakes]
    trace: str = refusals[-1]["trace_id"]
    return trace
