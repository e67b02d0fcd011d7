"""The list at the end of scripts/neighbours."""

import pytest
from tests.interop.neighbours import neighbour


@pytest.mark.parametrize(
    ("nodeid", "name"),
    [
        ("tests/interop/test_servers.py::test_envoy_jwt_authn", "envoy jwt authn"),
        ("tests/interop/test_clients.py::test_okta[ec]", "okta"),
        ("tests/interop/test_forward_auth.py::test_refusal[nginx-GET-/orders?a=b::c-403]", "nginx (forward-auth)"),
        ("tests/interop/test_forward_auth.py::test_client_cannot_forge[caddy]", "caddy (forward-auth)"),
    ],
)
def test_each_test_is_about_one(nodeid: str, name: str) -> None:
    assert neighbour(nodeid) == name
