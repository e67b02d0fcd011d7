"""Each example of docs/how-to/http-clients.md, as it is there, calls a guarded API in its own process."""

import ast
import asyncio
import gc
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests import certificates
from tests.process import Server

from affiant import Guard
from affiant.resource.frameworks.rpc.grpc import caller

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "http-clients.md").read_text("utf-8")
FIRST, *BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
LINES = 6
ANSWERS: dict[str, Any] = {"boto3": 200, "grpc": b"clients", "affiant": frozenset({"orders.write"})}


def _library(block: str) -> str:
    found = re.match(r"(?:import|from) (\w+)", block)
    assert found is not None, block
    return found[1]


@pytest.fixture(scope="module")
def names(server: Server, api: str) -> dict[str, Any]:
    """Return the names that the first example defines."""
    server.affiant("client", "new", "clients", "--scope", "orders.read", "--resource", api)
    path = server.folder / "clients.affiant.json"
    code = FIRST.replace("https://orders.example", api).replace("billing.affiant.json", str(path))
    names: dict[str, Any] = {"__name__": "example"}
    exec(code, names)
    return names


@pytest.fixture(scope="module")
def orders(server: Server, api: str) -> Iterator[dict[str, Any]]:
    """A guarded server of gRPC, with what the generated code and the operating system would have."""
    authority = certificates.authority()
    made = certificates.lasting(dn="CN=orders", dns=("localhost",), by=authority)
    guard = Guard(server.issuer, audience=api, revocations="off")  # it lives longer than the server
    with ThreadPoolExecutor(1) as pool:
        running = grpc.server(pool, interceptors=[guard.grpc({"/shop.Orders/*": "orders.read"})])
        method = grpc.unary_unary_rpc_method_handler(lambda *_: caller().client_id.encode())
        running.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Orders", {"List": method})])
        credentials = grpc.ssl_server_credentials([(made.key_pem, made.pem + authority.pem)])
        port = running.add_secure_port("127.0.0.1:0", credentials)
        running.start()

        class OrdersStub:
            def __init__(self, channel: Any) -> None:
                self.List = channel.unary_unary("/shop.Orders/List")

        yield {"target": f"localhost:{port}", "roots": authority.pem, "request": b"", "OrdersStub": OrdersStub}
        running.stop(None).wait()


def test_short() -> None:
    long = [block for block in (FIRST, *BLOCKS[:-1]) if len([line for line in block.splitlines() if line]) > LINES]
    assert not long


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # none closes
@pytest.mark.parametrize("block", BLOCKS, ids=_library)
def test_example(names: dict[str, Any], orders: dict[str, Any], block: str) -> None:
    names = {**names}
    if _library(block) == "grpc":
        names |= {
            **orders,
            "auth": names["service"].auth(names["API"], "orders.read", origin=f"https://{orders['target']}"),
        }
        block = block.replace('"orders.example:443"', "target").replace(
            "ssl_channel_credentials()", "ssl_channel_credentials(roots)"
        )
    if _library(block) == "affiant":
        exec("import httpx2", names)
    made = eval(compile(block, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if made is not None:
        asyncio.run(made)
    del made
    assert names["answer"] == ANSWERS.get(_library(block), {"for": "clients"})
    names.clear()
    gc.collect()  # here, where the warnings are expected
