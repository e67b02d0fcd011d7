"""What "Use it" shows: the values of the client, as strings of each language, and no secret."""

import ast
import shlex
from typing import Any

import pytest
import yaml

from affiant.server.console.show import snippets

HOSTILE = "$(touch${IFS}x)`id`';--"
APIS = [{"identifier": "https://orders.example", "is_default": True}]


def client(**members: Any) -> dict[str, Any]:
    key = {"kid": "k1", "state": "active", "kty": "EC", "crv": "P-256", "alg": "ES256"}
    return {
        "client_id": "urn:app:billing",
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": None,
        "keys": [key],
        "scope": ["orders.read", HOSTILE],
        "resources": [],
        **members,
    }


def texts(**members: Any) -> dict[str, str]:
    found = snippets.build(client(**members), "https://as.example", APIS)
    return {one.name: one.text for one in found}


@pytest.mark.parametrize("name", ["curl-sh", "affiant-sh"])
def test_shell_has_hostile_scope_as_one_word(name: str) -> None:
    words = shlex.split(texts()[name], comments=True)
    assert [word for word in words if word.removeprefix("scope=") == f"orders.read {HOSTILE}"]


@pytest.mark.parametrize("name", ["sdk-py", "pyjwt-py", "fastmcp-py"])
def test_python_has_hostile_scope_as_one_text(name: str) -> None:
    found = {node.value for node in ast.walk(ast.parse(texts()[name])) if isinstance(node, ast.Constant)}
    assert f"orders.read {HOSTILE}" in found


def test_spring_is_yaml() -> None:
    oauth = yaml.safe_load(texts()["application-yml"])["spring"]["security"]["oauth2"]["client"]
    assert oauth["registration"]["affiant"]["scope"] == ["orders.read", HOSTILE]
    assert oauth["provider"]["affiant"]["token-uri"] == "https://as.example/token"


def test_kafka_signs_with_rsa_alone() -> None:
    assert "kafka-properties" not in texts()
    lines = texts(token_endpoint_auth_signing_alg="RS256", scope=["a"])["kafka-properties"].splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert found["sasl.oauthbearer.assertion.claim.iss"] == "urn:app:billing"
    assert found["sasl.oauthbearer.assertion.private.key.file"] == "urn%3Aapp%3Abilling.pem"


@pytest.mark.parametrize("name", ["main-go", "GetToken-java", "jose-mjs", "openid-client-mjs"])
def test_quotes_are_those_of_the_language(name: str) -> None:
    text = texts()[name]
    assert f'"orders.read {HOSTILE}"' in text
    assert '"https://orders.example"' in text
    assert "{{" not in text
    assert "{%" not in text


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("client_secret_basic", {"secret-sh", "affiant-sh", "sdk-py", "fastmcp-py"}),
        ("client_secret_jwt", {"affiant-sh", "sdk-py", "fastmcp-py"}),
        ("tls_client_auth", set()),
    ],
)
def test_only_what_the_client_can_run(method: str, names: set[str]) -> None:
    assert texts(token_endpoint_auth_method=method, keys=[]).keys() == names
