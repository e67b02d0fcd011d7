"""An MCP client of the conformance suite: the MCP SDK's transport with our `auth=`. Its last argument is the server's URL.

A workload has a token of its platform; another argument is the scope that it asks for.
"""

import asyncio
import json
import os
import re
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from affiant import Service

GIVEN = json.loads(os.environ["MCP_CONFORMANCE_CONTEXT"])


def _service(url: str) -> tuple[Service, str]:
    """Return who we are at the authorization server that the MCP server names (RFC 9728), and the resource to ask for."""
    challenged = httpx2.post(url, json={})
    named = re.search(r'resource_metadata="([^"]+)"', challenged.headers["www-authenticate"])
    assert named is not None
    metadata = httpx2.get(named[1]).raise_for_status().json()
    return _of(metadata["authorization_servers"][0]), metadata["resource"]


def _of(issuer: str) -> Service:
    if "valid_jwt" in GIVEN:
        os.environ["WORKLOAD_TOKEN"] = GIVEN["valid_jwt"]
        return Service.from_platform("env:WORKLOAD_TOKEN", issuer, scope=" ".join(sys.argv[1:-1]) or None)
    mine = {"secret": GIVEN["client_secret"]} if "client_secret" in GIVEN else {"key": GIVEN["private_key_pem"]}
    return Service(issuer, GIVEN["client_id"], **mine)


async def main(url: str) -> None:
    service, resource = _service(url)
    async with (
        httpx2.AsyncClient(auth=service.auth(resource)) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        await client.list_tools()


asyncio.run(main(sys.argv[-1]))
